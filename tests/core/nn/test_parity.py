"""The trunk against PyTorch's own Transformer modules, which get one sequence at a time, and never a pack."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

from anyformer.nn import Memory, Pack, Stack, Stream, build, config
from anyformer.nn.attention import Attention

WIDTH, HEADS, DEPTH, INNER = 24, 3, 2, 40
SOURCE, TARGET = [5, 1, 9, 3], [2, 7, 1, 4]
TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-5}

Pair = tuple[nn.Parameter, nn.Parameter, slice]
"""A weight of ours, a weight of theirs, and the rows of theirs that it equals."""

every_dtype = pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
every_place = pytest.mark.parametrize("place", ["pre", "post"])
every_activation = pytest.mark.parametrize("activation", ["relu", "gelu"])
every_final = pytest.mark.parametrize("final", [True, False], ids=["final-norm", "no-final-norm"])


def settings(place: str, activation: str, final: bool, causal: bool = False, cross: bool = False) -> config.Stack:
    return config.Stack(
        width=WIDTH, depth=DEPTH, causal=causal, cross=cross, attention=config.Attention(heads=HEADS),
        position=config.Position(kind="none"), feed_forward=config.FeedForward(width=INNER, activation=activation),
        norm=config.Norm(place=place, final=final),
    )  # fmt: skip


def attention_pairs(ours: Attention, theirs: nn.MultiheadAttention) -> Iterator[Pair]:
    for index, layer in enumerate((ours.query, ours.key, ours.value)):
        rows = slice(index * WIDTH, (index + 1) * WIDTH)
        yield layer.weight, theirs.in_proj_weight, rows
        yield layer.bias, theirs.in_proj_bias, rows
    yield from whole(ours.output, theirs.out_proj)


def whole(ours: nn.Module, theirs: nn.Module) -> Iterator[Pair]:
    for mine, yours in zip(ours.parameters(), theirs.parameters(), strict=True):
        yield mine, yours, slice(None)


def stack_pairs(ours: Stack, theirs: nn.TransformerEncoder | nn.TransformerDecoder) -> Iterator[Pair]:
    for block, layer in zip(ours.blocks, theirs.layers, strict=True):
        yield from attention_pairs(block.attention, layer.self_attn)
        norms = [block.attention_residual.norm, block.feed_forward_residual.norm]
        if block.cross is not None:
            yield from attention_pairs(block.cross, layer.multihead_attn)
            norms.insert(1, block.cross_residual.norm)
        for index, norm in enumerate(norms, 1):
            yield from whole(norm, getattr(layer, f"norm{index}"))
        yield from whole(block.feed_forward.up, layer.linear1)
        yield from whole(block.feed_forward.down, layer.linear2)
    if theirs.norm is not None:
        yield from whole(ours.final_norm, theirs.norm)
    assert (ours.final_norm is None) == (theirs.norm is None)


def copy(pairs: list[Pair]) -> None:
    for ours, theirs, rows in pairs:
        theirs.data[rows] = ours.data


def compare(
    ours: Callable[..., Tensor], theirs: Callable[..., Tensor], inputs: list[Tensor], pairs: list[Pair],
    relative: Callable[[Tensor, Tensor], float],
) -> None:  # fmt: skip
    copy(pairs)
    mine, yours = ([x.clone().requires_grad_() for x in inputs] for _ in range(2))
    found, true = ours(*mine), theirs(*yours)
    assert relative(found, true) <= TOLERANCE[true.dtype]
    # Every output counts otherwise, or much of the gradient would cancel in the norms.
    weights = torch.linspace(-1, 1, true.numel(), dtype=true.dtype).view_as(true)
    (found * weights).sum().backward()
    (true * weights).sum().backward()
    for x, y in zip(mine, yours, strict=True):
        assert relative(x.grad, y.grad) <= TOLERANCE[true.dtype]
    # All weights at once, as the true gradient of the keys' biases is zero: softmax does not see them.
    of_ours = torch.cat([weight.grad.flatten() for weight, _, _ in pairs])
    of_theirs = torch.cat([weight.grad[rows].flatten() for _, weight, rows in pairs])
    assert relative(of_ours, of_theirs) <= TOLERANCE[true.dtype]


def future(length: int) -> Tensor:
    return torch.ones(length, length, dtype=torch.bool).triu(1)


def tokens(lengths: list[int], dtype: torch.dtype) -> Tensor:
    return torch.randn(sum(lengths), WIDTH, generator=torch.Generator().manual_seed(sum(lengths)), dtype=dtype)


@every_dtype
@every_place
@every_activation
@every_final
@pytest.mark.parametrize("causal", [False, True], ids=["encoder", "decoder-only"])
def test_stack_equals_transformer_encoder(
    dtype: torch.dtype, place: str, activation: str, final: bool, causal: bool, unit_scale: Callable, relative: Callable
) -> None:
    stack = build.stack(settings(place, activation, final, causal)).to(dtype)
    unit_scale(stack)
    layer = nn.TransformerEncoderLayer(
        WIDTH, HEADS, INNER, 0.0, activation, batch_first=True, norm_first=place == "pre", dtype=dtype
    )
    norm = nn.LayerNorm(WIDTH, dtype=dtype) if final else None
    reference = nn.TransformerEncoder(layer, DEPTH, norm, enable_nested_tensor=False)

    def theirs(x_TD: Tensor) -> Tensor:
        each = [reference(x_LD[None], future(len(x_LD)) if causal else None)[0] for x_LD in x_TD.split(SOURCE)]
        return torch.cat(each)

    def ours(x_TD: Tensor) -> Tensor:
        return stack(Stream(x_TD, Pack.of(SOURCE))).x_TD

    compare(ours, theirs, [tokens(SOURCE, dtype)], list(stack_pairs(stack, reference)), relative)


@every_dtype
@every_place
@every_activation
@every_final
def test_stack_equals_transformer_decoder(
    dtype: torch.dtype, place: str, activation: str, final: bool, unit_scale: Callable, relative: Callable
) -> None:
    stack = build.stack(settings(place, activation, final, causal=True, cross=True)).to(dtype)
    unit_scale(stack)
    layer = nn.TransformerDecoderLayer(
        WIDTH, HEADS, INNER, 0.0, activation, batch_first=True, norm_first=place == "pre", dtype=dtype
    )
    reference = nn.TransformerDecoder(layer, DEPTH, nn.LayerNorm(WIDTH, dtype=dtype) if final else None)

    def theirs(x_TD: Tensor, memory_SD: Tensor) -> Tensor:
        pairs = zip(x_TD.split(TARGET), memory_SD.split(SOURCE), strict=True)
        return torch.cat([reference(x_LD[None], m_SD[None], future(len(x_LD)))[0] for x_LD, m_SD in pairs])

    def ours(x_TD: Tensor, memory_SD: Tensor) -> Tensor:
        return stack(Stream(x_TD, Pack.of(TARGET)), Memory(Stream(memory_SD, Pack.of(SOURCE)))).x_TD

    inputs = [tokens(TARGET, dtype), tokens(SOURCE, dtype)]
    compare(ours, theirs, inputs, list(stack_pairs(stack, reference)), relative)


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
@every_dtype
@every_place
@every_activation
def test_trunk_equals_transformer(
    dtype: torch.dtype, place: str, activation: str, unit_scale: Callable, relative: Callable
) -> None:
    both = {
        "encoder": settings(place, activation, final=True),
        "decoder": settings(place, activation, final=True, causal=True, cross=True),
    }
    trunk = build.trunk(config.Trunk(**both)).to(dtype)
    unit_scale(trunk)
    reference = nn.Transformer(
        WIDTH, HEADS, DEPTH, DEPTH, INNER, 0.0, activation, batch_first=True, norm_first=place == "pre", dtype=dtype
    )

    def theirs(source_TD: Tensor, target_TD: Tensor) -> Tensor:
        pairs = zip(source_TD.split(SOURCE), target_TD.split(TARGET), strict=True)
        return torch.cat([reference(s_LD[None], t_LD[None], tgt_mask=future(len(t_LD)))[0] for s_LD, t_LD in pairs])

    def ours(source_TD: Tensor, target_TD: Tensor) -> Tensor:
        streams = {"source": Stream(source_TD, Pack.of(SOURCE)), "target": Stream(target_TD, Pack.of(TARGET))}
        return trunk(streams)["target"].x_TD

    pairs = [*stack_pairs(trunk.encoder, reference.encoder), *stack_pairs(trunk.decoder, reference.decoder)]
    compare(ours, theirs, [tokens(SOURCE, dtype), tokens(TARGET, dtype)], pairs, relative)
