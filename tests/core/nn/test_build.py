from __future__ import annotations

import math
import time
from collections.abc import Callable

import pytest
import torch

from anyformer.nn import Pack, Part, Stream, build, config
from anyformer.task import Tokenizer

WIDTH, VOCABULARY = 7, 11


def tokenizer(**kind: int) -> Tokenizer:
    found = Tokenizer(Tokenizer.Config())
    found.vocabulary_size, found.patch_width = kind.get("ids", 0), kind.get("patches", 0)
    return found


def stack(position: str = "none", width: int = WIDTH, **fields: object) -> config.Stack:
    found = {
        "width": width,
        "attention": {"heads": 1, "head_width": 4},
        "position": {"kind": position, "length": 5},
        "depth": 1,
    }
    return config.Stack.model_validate({**found, **fields})


def ids(*lengths: int) -> Part:
    torch.manual_seed(0)
    return Part(torch.randint(VOCABULARY, (sum(lengths),)), Pack.of(lengths))


@pytest.mark.parametrize("position", ["none", "rotary", "learned", "sinusoidal"])
def test_tokens_get_their_positions(position: str, relative: Callable) -> None:
    embedding = build.embedding_for(config.Trunk(encoder=stack(position)), {"text": tokenizer(ids=VOCABULARY)}).double()
    part = ids(3, 5)
    stream = embedding({"source": part})["source"]
    layer = embedding.streams["source"]
    scale = math.sqrt(WIDTH) if position == "sinusoidal" else 1
    rows = []
    for token, place in zip(part.values.tolist(), [0, 1, 2, 0, 1, 2, 3, 4], strict=True):
        row = layer.table.weight[token] * scale
        if position == "learned":
            row = row + layer.positions.table.weight[place]
        if position == "sinusoidal":
            angles = [place / 10000 ** (2 * (i // 2) / WIDTH) for i in range(WIDTH)]
            waves = [math.cos(a) if i % 2 else math.sin(a) for i, a in enumerate(angles)]
            row = row + torch.tensor(waves, dtype=torch.float64)
        rows.append(row)
    assert relative(stream.x_TD, torch.stack(rows)) <= 1e-12
    assert stream.pack is part.pack


def test_a_learned_table_ends() -> None:
    embedding = build.embedding_for(config.Trunk(decoder=stack("learned")), {"text": tokenizer(ids=VOCABULARY)})
    with pytest.raises(ValueError, match=r"reaches 6 tokens; the model has 5 learned positions \(position.length\)"):
        embedding({"target": ids(2, 6)})
    later = Part(torch.zeros(1, dtype=torch.int64), Pack.of([1], starts=torch.tensor([5])))
    with pytest.raises(ValueError, match="reaches 6 tokens"):
        embedding({"target": later})


def test_patches_are_projected() -> None:
    embedding = build.embedding_for(config.Trunk(encoder=stack()), {"image": tokenizer(patches=3)})
    values = torch.randn(4, 3)
    layer = embedding.streams["source"].projection
    found = embedding({"source": Part(values, Pack.of([4]))})["source"].x_TD
    assert torch.equal(found, values @ layer.weight.T + layer.bias)


def test_one_tokenizer_shares_its_table_and_two_do_not() -> None:
    both = config.Trunk(encoder=stack(), decoder=stack(causal=True, cross=True))
    one = build.embedding_for(both, {"text": tokenizer(ids=VOCABULARY)})
    assert one.streams["source"].table.weight is one.streams["target"].table.weight
    two = build.embedding_for(both, {"source": tokenizer(ids=VOCABULARY), "target": tokenizer(ids=5)})
    assert [two.streams[name].table.num_embeddings for name in ("source", "target")] == [VOCABULARY, 5]
    with pytest.raises(ValueError, match="the stream 'target' has no tokenizer; the task has: source, other"):
        build.embedding_for(both, {"source": tokenizer(ids=5), "other": tokenizer(ids=5)})


def test_new_weights_keep_the_scale_of_the_residual_stream() -> None:
    torch.manual_seed(0)
    deep = build.stack(
        config.Stack(width=64, depth=32, attention=config.Attention(heads=4), norm=config.Norm(final=False))
    )
    x_TD = torch.randn(256, 64)
    assert 1 < deep(Stream(x_TD, Pack.of([100, 156]))).x_TD.std() < 3
    block = deep.blocks[0]
    bound = math.sqrt(6 / (64 + 64))
    assert 0.95 * bound < block.attention.query.weight.abs().max() <= bound
    assert block.attention.output.weight.abs().max() <= bound / math.sqrt(2 * 32)
    assert not any(weight.any() for name, weight in deep.named_parameters() if name.endswith("bias"))


def test_a_hundred_wide_layers_build_on_the_meta_device() -> None:
    def build_on_meta(depth: int) -> torch.nn.Module:
        wide = {"width": 12288, "depth": depth, "attention": config.Attention(heads=96)}
        with torch.device("meta"):
            return build.trunk(config.Trunk(encoder=config.Stack(**wide), decoder=config.Stack(**wide, cross=True)))

    build_on_meta(1)  # The first use of the meta device makes torch import its decompositions, which takes seconds.
    start = time.process_time()
    trunk = build_on_meta(50)
    assert time.process_time() - start < 2
    assert {weight.device.type for weight in trunk.state_dict().values()} == {"meta"}
    assert sum(weight.numel() for weight in trunk.parameters()) > 2e11


def test_dropout_reaches_every_place_and_only_in_training() -> None:
    settings = stack(
        dropout=0.2, cross=True, attention={"heads": 1, "head_width": 4, "dropout": 0.3}, feed_forward={"dropout": 0.4}
    )
    found = build.stack(settings)
    block = found.blocks[0]
    rates = [
        found.dropout.p,
        block.attention_residual.dropout.p,
        block.attention.dropout,
        block.cross.dropout,
        block.feed_forward.dropout.p,
    ]
    assert rates == [0.2, 0.2, 0.3, 0.3, 0.4]
    encoder = build.stack(stack(attention={"heads": 1, "head_width": 4, "dropout": 0.5}))
    stream = Stream(torch.randn(6, WIDTH), Pack.of([6]))
    first, second = (encoder(stream).x_TD for _ in range(2))
    assert not torch.equal(first, second)
    encoder.eval()
    first, second = (encoder(stream).x_TD for _ in range(2))
    assert torch.equal(first, second)


def test_stored_frequencies_are_those_that_turn() -> None:
    """A new model's equal the computed ones; those that are put in their place are used, and no training moves them."""
    found = {}
    for stored in (True, False):
        torch.manual_seed(0)
        position = config.Position(kind="rotary", stored=stored)
        found[stored] = build.stack(stack().model_copy(update={"position": position})).double()
    stream = Stream(torch.randn(8, WIDTH, dtype=torch.float64), Pack.of([3, 5]))
    before = found[False](stream).x_TD
    torch.testing.assert_close(found[True](stream).x_TD, before, rtol=0, atol=1e-6)
    assert "positions.frequencies" in found[True].state_dict()
    assert "positions.frequencies" not in {**found[False].state_dict(), **dict(found[True].named_parameters())}
    found[True].state_dict()["positions.frequencies"].mul_(2)
    assert not torch.allclose(found[True](stream).x_TD, before)
