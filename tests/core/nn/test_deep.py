"""What the blocks before the last put out, for a head that asks for it."""

from __future__ import annotations

import torch

from anyformer.nn import build
from anyformer.nn.config import Norm, Stack, Trunk
from anyformer.nn.pack import Pack, Stream

PACK = Pack.of([3, 2], torch.device("cpu"))


def test_each_block_is_as_the_last_of_a_shorter_stack() -> None:
    """A stack cut after a block, with the same final norm, puts out what the whole stack keeps of that block."""
    stack = build.stack(Stack(width=16, depth=3, norm=Norm(final=True)))
    torch.nn.init.normal_(stack.final_norm.weight)  # type: ignore[union-attr, arg-type]
    stream = Stream(torch.randn(5, 16), PACK)
    whole = stack(stream, deep=True)
    assert len(whole.earlier) == 2
    assert torch.equal(whole.x_TD, stack(stream).x_TD)
    blocks = list(stack.blocks)
    for depth, kept in enumerate(whole.earlier, 1):
        stack.blocks = torch.nn.ModuleList(blocks[:depth])
        assert torch.equal(kept, stack(stream).x_TD)


def test_only_the_stack_that_the_head_reads_is_kept_and_only_where_asked() -> None:
    trunk = build.trunk(Trunk(encoder=Stack(width=16, depth=2), decoder=Stack(width=16, depth=2, cross=True)))
    streams = {name: Stream(torch.randn(5, 16), PACK) for name in ("source", "target")}
    found = trunk(streams, deep=True)
    assert [len(found[name].earlier) for name in ("source", "target")] == [0, 1]
    assert not trunk(streams)["target"].earlier
