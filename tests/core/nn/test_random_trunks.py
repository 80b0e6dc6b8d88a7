"""Whatever a configuration allows: it builds, answers a pack as one by one, and comes back from disk bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from anyformer import artifact as artifacts
from anyformer import plugins
from anyformer.artifact import Artifact, build_model, unique_tensors
from anyformer.data.packs import collate
from anyformer.nn import config
from anyformer.task import Sample
from anyformer.train.prepare import new_task, task_settings

LENGTHS = (5, 1, 9, 3)
HEAD_WIDTHS = st.sampled_from([4, 6])


@st.composite
def stacks(draw: st.DrawFn, **fixed: Any) -> config.Stack:
    """A stack of any published kind: small, and valid by construction but for what `Stack` itself refuses."""
    key_value_heads, group, head_width = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(HEAD_WIDTHS)
    heads = key_value_heads * group
    kind = draw(st.sampled_from(["none", "learned", "sinusoidal", "rotary", "alibi", "relative"]))
    place = draw(st.sampled_from(["pre", "post"]))
    scaling = draw(
        st.sampled_from([None, config.LinearScaling(factor=4.0), config.BandScaling(factor=8.0, original_length=16)])
    )
    return config.Stack(
        width=fixed.pop("width", None) or heads * head_width,
        depth=draw(st.integers(0, 3)),
        attention=config.Attention(
            heads=heads, key_value_heads=key_value_heads, head_width=draw(st.sampled_from([head_width, 8])),
            bias=draw(st.booleans()), output_bias=draw(st.booleans()),
            query_key_norm=draw(st.sampled_from(["none", "layer", "rms"])), scale=draw(st.sampled_from([None, 1.0, 0.2])),
            window=draw(st.sampled_from([None, 1, 3])), dropout=draw(st.sampled_from([0.0, 0.3])),
        ),
        position=config.Position(
            kind=kind, length=draw(st.integers(16, 20)), offset=draw(st.sampled_from([0, 2])),
            width=draw(st.sampled_from([None, 2, 4])) if kind == "rotary" else None, interleaved=draw(st.booleans()),
            scaling=scaling if kind == "rotary" else None, furthest=draw(st.sampled_from([20, 128])),
        ),
        embedding=config.Embedding(
            norm=draw(st.booleans()), segments=draw(st.sampled_from([0, 2])), scale=draw(st.sampled_from([None, 2.5]))
        ),
        feed_forward=config.FeedForward(
            width=draw(st.sampled_from([None, 7])), activation=draw(st.sampled_from(["gelu", "gelu_tanh", "relu", "silu"])),
            gated=draw(st.booleans()), bias=draw(st.booleans()),
        ),
        norm=config.Norm(
            kind=draw(st.sampled_from(["layer", "rms", "batch"])), place=place,
            final=draw(st.sampled_from([None, True, False])), bias=draw(st.booleans()),
        ),
        parallel=place == "pre" and not fixed.get("cross", False) and draw(st.booleans()),
        layer_scale=draw(st.sampled_from([None, 0.5])),
        stochastic_depth=draw(st.sampled_from([0.0, 0.4])),
        dropout=draw(st.sampled_from([0.0, 0.2])),
        **fixed,
    )  # fmt: skip


@st.composite
def trunks(draw: st.DrawFn, both: bool) -> config.Trunk:
    encoder = draw(stacks(causal=draw(st.booleans())))
    if not both:
        return config.Trunk(encoder=encoder)
    # A table that both streams share needs one width.
    decoder = draw(stacks(causal=True, cross=True, width=encoder.width))
    return config.Trunk(encoder=encoder, decoder=decoder)


def made(name: str, trunk: config.Trunk, letters: ModuleType) -> tuple[Artifact, str]:
    kind = plugins.task(f"letters/{name}")
    bound = new_task(kind, task_settings(kind, []), letters.words(12), None)
    return Artifact(build_model(trunk, {f"letters/{name}": bound}), trunk), f"letters/{name}"


def outputs(model: Any, component: str, samples: list[Sample]) -> list[torch.Tensor]:
    parts, _ = collate(samples)
    with torch.inference_mode():
        streams = model.encode(parts, component)
        output = model[component].head(streams)
    return streams["target"].pack.split(output) if "target" in streams else list(output)


@pytest.mark.parametrize("name", ["richest", "reverse"])
def test_random_trunks(
    name: str, letters: ModuleType, unit_scale: Callable[..., None], relative: Callable, tmp_path_factory: Any
) -> None:
    folder: Path = tmp_path_factory.mktemp("random")

    @settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(data=st.data())
    def check(data: st.DataObject) -> None:
        try:
            trunk = data.draw(trunks(both=name == "reverse"))
        except ValidationError:
            return  # a combination that the configuration itself refuses, such as turning more than a head
        artifact, id = made(name, trunk, letters)
        model = artifact.model.eval()
        unit_scale(model)
        generator = torch.Generator().manual_seed(0)
        size = min(tokenizer.vocabulary_size for tokenizer in model[id].task.tokens.values())
        parts = ("source", "target") if name == "reverse" else ("source",)
        samples = [
            Sample({part: torch.randint(0, size, (length,), generator=generator).numpy() for part in parts})
            for length in LENGTHS
        ]
        packed = outputs(model, id, samples)
        for sample, found in zip(samples, packed, strict=True):
            (alone,) = outputs(model, id, [sample])
            assert relative(found, alone) <= 1e-5
        artifacts.save(artifact, folder / "model")
        again = artifacts.load(folder / "model")
        assert again.trunk == trunk
        for key, tensor in unique_tensors(model).items():
            assert torch.equal(tensor, unique_tensors(again.model)[key]), key
        for found, true in zip(outputs(again.model, id, samples), packed, strict=True):
            assert torch.equal(found, true)

    check()
