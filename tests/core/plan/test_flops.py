"""Operations of a trunk, beside those that PyTorch counts while it runs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from anyformer.nn import Pack, Stream, attention, build
from anyformer.nn.config import Attention, FeedForward, Stack, Trunk
from anyformer.plan.devices import half_peak
from anyformer.plan.flops import flops_per_token, forward_flops

GROUPED = Attention(heads=4, key_value_heads=2, head_width=6)
TRUNKS = {
    "encoder": Trunk(encoder=Stack(width=16, depth=3, attention=Attention(heads=4))),
    "decoder": Trunk(
        decoder=Stack(width=16, depth=2, causal=True, attention=GROUPED, feed_forward=FeedForward(gated=True))
    ),
    "parallel": Trunk(decoder=Stack(width=16, depth=2, causal=True, attention=GROUPED, parallel=True)),
    "both": Trunk(
        encoder=Stack(width=24, depth=1, attention=Attention(heads=2)),
        decoder=Stack(width=16, depth=2, causal=True, cross=True, attention=GROUPED),
    ),
}


def plain(q_THE: Tensor, k_SKE: Tensor, v_SKE: Tensor, *_: Any, **__: Any) -> Tensor:
    """Attention of one sequence as two products, whose operations PyTorch knows; what it hides costs nothing less."""
    q_HLE = q_THE.transpose(0, 1)
    k_HSE, v_HSE = (x.repeat_interleave(q_THE.shape[1] // x.shape[1], 1).transpose(0, 1) for x in (k_SKE, v_SKE))
    return (q_HLE @ k_HSE.transpose(1, 2)).softmax(-1).matmul(v_HSE).transpose(0, 1)


@pytest.mark.parametrize("name", TRUNKS)
@pytest.mark.usefixtures("unchecked")
def test_what_pytorch_counts(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = TRUNKS[name]
    monkeypatch.setattr(attention, "attend", plain)
    lengths = dict(zip(settings.stacks, (10, 7), strict=False))
    streams = {
        stream: Stream(torch.randn(length, settings.stacks[stream].width, requires_grad=True), Pack.of([length]))
        for stream, length in lengths.items()
    }
    trunk = build.trunk(settings)
    with FlopCounterMode(display=False) as forward:
        out = trunk(streams)
    assert forward.get_total_flops() == forward_flops(settings, lengths)
    with FlopCounterMode(display=False) as backward:
        sum(stream.x_TD.sum() for stream in out.values()).backward()
    assert backward.get_total_flops() == 2 * forward_flops(settings, lengths)


def test_the_formula_of_palm() -> None:
    # 6 N + 12 L H Q T a token (appendix B): GPT-2 124M at its full length, whose N without tables is 12 D^2 a layer.
    gpt2 = Trunk(decoder=Stack(width=768, depth=12, causal=True, attention=Attention(heads=12)))
    assert flops_per_token(gpt2, 1024) == 6 * 12 * 12 * 768**2 + 12 * 12 * 768 * 1024
    both = flops_per_token(TRUNKS["both"], 8)  # by token of both streams
    assert both == 3 * forward_flops(TRUNKS["both"], {"source": 8, "target": 8}) / 16
    with pytest.raises(ValueError, match="length is 0; a sequence has 1 token or more"):
        flops_per_token(gpt2, 0)


@pytest.mark.parametrize(("causal", "seen"), [(True, 4), (False, 7)])
def test_a_window_hides_what_nobody_computes(causal: bool, seen: int) -> None:
    def of(length: int, window: int | None) -> float:
        settings = Stack(width=16, depth=1, causal=causal, attention=Attention(heads=2, window=window))
        return flops_per_token(Trunk(encoder=settings), length)

    assert of(100, None) - of(100, 4) == 12 * 16 * (100 - seen)
    assert of(3, None) == of(3, 4)


def test_peaks_by_the_name_that_a_gpu_gives_itself() -> None:
    named = {
        "NVIDIA H100 80GB HBM3": 989e12, "NVIDIA H100 PCIe": 756e12, "NVIDIA A100-SXM4-40GB": 312e12, "Tesla T4": 65e12,
        "NVIDIA L4": 121e12, "NVIDIA L40S": 362e12, "NVIDIA A10": 125e12, "NVIDIA A10G": None, "AMD Instinct MI300X": None,
    }  # fmt: skip
    assert {name: half_peak(name) for name in named} == named
