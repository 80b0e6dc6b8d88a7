"""What cannot be split is refused before anything is changed; what can be is summed no more often than it must."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from processes import on_ranks

from anyformer.train.lora import Adapter, put
from anyformer.train.parallel import world as worlds
from anyformer.train.parallel.placing import place, units
from anyformer.train.parallel.plan import check
from anyformer.train.parallel.world import World
from anyformer.train.settings import Parallel

sys.path.insert(0, str(Path(__file__).parent))
from small import decoder, learn, new_model


@pytest.mark.parametrize(
    ("name", "parts", "refusal"),
    [
        ("alibi", 4, "training.parallel.tensor=4 must divide the 6 heads of trunk.decoder.blocks.0.attention; choose a "
         "divisor, or use training.parallel.shard"),
        ("alibi", 3, "training.parallel.tensor=3 must divide the 2 key-value heads of trunk.decoder.blocks.0.attention; "
         "choose a divisor, or use training.parallel.shard"),
        ("relative", 4, "training.parallel.tensor=4 must divide the 2 key-value heads of "
         "trunk.encoder.blocks.0.attention; choose a divisor, or use training.parallel.shard"),
    ],
)  # fmt: skip
def test_sizes_that_do_not_divide(name: str, parts: int, refusal: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(refusal)}$"):
        check(new_model(name).trunk, parts)


def test_inner_columns_that_do_not_divide() -> None:
    model = new_model("alibi")
    decoder(model).blocks[1].feed_forward.up = torch.nn.Linear(12, 7)
    with pytest.raises(
        ValueError, match=r"tensor=2 must divide the 7 inner columns of trunk.decoder.blocks.1.feed_forw"
    ):
        check(model.trunk, 2)


def refused(world: World) -> str:
    """What is said about adapters, with the model as it was."""
    model = new_model("rotary")
    layer = "trunk.decoder.blocks.1.feed_forward.down"
    narrow, wide = decoder(model).blocks[1].feed_forward.down.weight.shape
    put(model, {layer: Adapter(torch.zeros(1, wide), torch.zeros(narrow, 1), 1.0)})
    before = [id(weight) for weight in model.parameters()]
    with pytest.raises(ValueError, match="adapters") as refusal:
        place(model, Parallel(tensor=2), world)
    assert [id(weight) for weight in model.parameters()] == before
    return str(refusal.value)


def sums(world: World) -> int:
    """How often a forward and a backward pass sum over the processes."""
    from torch.distributed.tensor.debug import CommDebugMode

    model = new_model("alibi")
    place(model, Parallel(tensor=2), world)
    with CommDebugMode() as counted:
        learn(model, [("only", [0, 1])])
    return counted.get_total_counts()


def dropped(world: World) -> list[float]:
    """What a model with dropout makes of the same records and seed."""
    model = new_model("rotary")
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.5
    place(model, Parallel(tensor=2), world)
    torch.manual_seed(5)
    seen: list[float] = []
    for block in decoder(model).blocks:
        block.register_forward_hook(lambda _module, _given, stream: seen.append(stream.x_TD.sum().item()))
    learn(model, [("only", [0, 1])])
    return seen


def together(world: World) -> tuple[str, int, list[float]]:
    return refused(world), sums(world), dropped(world)


def test_two_ranks() -> None:
    found = on_ranks(together, 2, tensor=2)
    for said, count, _ in found:
        assert said == "training.parallel.tensor=2 cannot split layers with adapters (training.lora); use " \
            "training.parallel.shard"  # fmt: skip
        assert count == 2 * 2 * 2, "two blocks of two halves, there and back"
    assert found[0][2] == found[1][2], "what flows between blocks is the same on all processes"


def test_units() -> None:
    """A tied head is gathered with its table, another apart; what components share is left to the model."""
    model = new_model("rotary", ("first", "second"))
    first: Any = model["first"]
    second: Any = model["second"]
    blocks = list(decoder(model).blocks)
    assert units(model) == [*blocks, first.embedding, first, second.embedding, second, model]
    first.head.output.weight = first.embedding.streams["target"].table.weight
    assert units(model) == [*blocks, first, second.embedding, second, model]
    second.embedding = first.embedding
    assert units(model) == [*blocks, model]


def test_a_world_of_another_size() -> None:
    with pytest.raises(ValueError, match=r"^training\.parallel asks for 2 x 3 processes, or a multiple of them; there"):
        worlds.join(Parallel(shard=2, tensor=3), torch.device("cpu"))
