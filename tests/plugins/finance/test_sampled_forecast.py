"""Sampled forecasts, and Chronos' checkpoints from raw values to quantiles; parity of modules is in `tests/parity`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import anyformer
from anyformer.nn.config import Trunk
from anyformer.task import Prediction, Record
from anyformer_finance.sampled_forecast import SampledForecast
from anyformer_finance.schema import Input, Target
from anyformer_finance.value_bins import ValueBins

transformers = pytest.importorskip("transformers")
from anyformer.testing.parity import unit_scale  # noqa: E402

RNG = np.random.default_rng(0)
BINS = {
    "tokenizer_class": "MeanScaleUniformBins", "tokenizer_kwargs": {"low_limit": -4.0, "high_limit": 4.0},
    "context_length": 24, "prediction_length": 5, "n_tokens": 60, "n_special_tokens": 2, "pad_token_id": 0,
    "eos_token_id": 1, "use_eos_token": True, "model_type": "seq2seq", "num_samples": 20, "temperature": 1.0,
    "top_k": 50, "top_p": 1.0,
}  # fmt: skip


def task(ends: bool = True, **config: Any) -> SampledForecast:
    settings = SampledForecast.Config(**{"look_back": 6, "horizon": 3, **config})
    return SampledForecast(settings, {"bins": ValueBins(ValueBins.Config(num_tokens=60, ends=ends))})


def checkpoint(folder: Path, bins: dict[str, Any] | None = None, **changes: Any) -> Any:
    """A home model with drawn weights, saved in a folder."""
    sizes = {"vocab_size": 60, "d_model": 12, "num_layers": 2, "num_heads": 3, "d_kv": 4, "d_ff": 20}
    said = {**BINS, **(bins or {})}
    config = transformers.T5Config(**sizes, decoder_start_token_id=0, chronos_config=said)
    home: Any = unit_scale(transformers.T5ForConditionalGeneration(config))
    home.save_pretrained(folder)
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return home


@pytest.mark.parametrize("ends", [True, False])
def test_past_and_future_are_on_one_scale(ends: bool) -> None:
    own = task(ends)
    record = Record(Input(series={"a": np.arange(9.0)}), Target(future={"a": np.array([5.0, np.nan, 50.0])}))
    (sample,) = own.learn(record, RNG)
    bins, scale = own.tokens["bins"], 5.5  # of 3 to 8
    assert sample.notes["scale"] == scale
    end = [1] * ends
    ids = bins.ids(np.array([5.0, np.nan, 50.0]), scale).tolist()
    assert sample.parts["source"].tolist() == bins.ids(np.arange(3.0, 9), scale).tolist() + end
    assert sample.parts["target"].tolist() == ([0, *ids] if ends else [0, *ids[:-1]])
    assert sample.targets["labels"].tolist() == [ids[0], -100, ids[2], *end]
    (asked,) = own.encode(record.input, own.Options())
    assert asked.parts["source"].tolist() == sample.parts["source"].tolist()
    assert asked.parts["target"].tolist() == [0]
    assert (asked.notes["max_new_tokens"], asked.notes["suppressed"]) == (3, (1,))


def test_the_answer_holds_quantiles_of_the_paths() -> None:
    own, given = task(quantiles=(0.25, 0.5, 0.9)), Input(series={"a": np.full(6, 2.0), "b": np.full(6, -10.0)})
    samples, paths = own.encode(given, own.Options()), RNG.integers(3, 60, (2, 20, 3))
    found = [
        Prediction({"ids": each[0], "answers": each.ravel(), "lengths": np.full(20, 3, np.int64)}) for each in paths
    ]
    output = own.decode(given, samples, found, own.Options(levels=(0.25,)))
    centres = np.linspace(-15, 15, 57)
    for name, ids, scale in zip("ab", paths, (2.0, 10.0), strict=True):
        values = np.sort(centres[ids - 3] * scale, axis=0)
        np.testing.assert_allclose(output.median[name], (values[9] + values[10]) / 2)
        np.testing.assert_allclose(output.quantiles[name]["0.25"], values[4] * 0.25 + values[5] * 0.75)
    assert output.levels == [0.25]


def test_a_short_history_is_read_as_it_is() -> None:
    own, values = task(season=6), [None, 2.0, 4.0]
    given = Input.model_validate({"series": {"a": values, "b": [1.0] * 9}})
    short, long = own.encode(given, own.Options())
    assert short.parts["source"].tolist() == [*own.tokens["bins"].ids(np.array([2.0, 4.0]), 3.0), 1]
    assert len(long.parts["source"]) == 7
    found = {name: answer(given).median["a"].tolist() for name, answer in own.baselines().items()}
    assert found == {"repeat": [4.0] * 3, "mean": [3.0] * 3, "seasonal-naive": [4.0, 4.0, 4.0]}


def test_refusals() -> None:
    own = task()
    with pytest.raises(ValueError, match="series 'a' has no value among its last 6; give at least one"):
        own.encode(Input(series={"a": np.full(8, np.nan)}), own.Options())
    gap = Input(series={"a": np.array([1.0, np.nan, 3.0])})
    with pytest.raises(ValueError, match="in the last 3 values, row 2: 'a' is missing; complete it, or set config"):
        own.encode(gap, own.Options())
    assert task(gaps="fill").encode(gap, own.Options())[0].notes["scale"] == pytest.approx(5 / 3)
    with pytest.raises(ValueError, match=r"'max_new_tokens' is 4; the model forecasts 3 steps \(config.horizon\)"):
        own.encode(Input(series={"a": np.ones(6)}), own.Options(max_new_tokens=4))
    with pytest.raises(ValueError, match=r"trunk\.decoder needs causal=true, cross=true"):
        own.head(Trunk.model_validate({"encoder": own.default_trunk["encoder"]}))


def test_raw_values_to_quantiles_of_paths_the_home_library_finds_as_likely(tmp_path: Path) -> None:
    """The likeliest path of every series, from values; and of many sampled first steps, the shares of each bin."""
    home = checkpoint(tmp_path / "home")
    forecast = anyformer.pipeline("finance/sampled-forecast", model=tmp_path / "home")
    series = {"a": RNG.normal(size=40) * 3 + 50, "b": RNG.normal(size=7) * 1e6}
    found = forecast({"series": series}, sample=False, num_answers=1)
    centres = np.linspace(-4, 4, 57)
    for name, values in series.items():
        past = values[-24:]
        scale = np.abs(past).mean()
        edges = (centres[1:] + centres[:-1]) / 2
        source = torch.tensor([[*(np.searchsorted(edges, past / scale, side="right") + 3), 1]])
        ids = home.generate(
            input_ids=source, attention_mask=torch.ones_like(source), min_new_tokens=5, max_new_tokens=5,
            do_sample=False, use_cache=False,
        )[0, 1:].numpy()  # fmt: skip
        np.testing.assert_allclose(found.median[name], centres[np.clip(ids - 3, 0, 56)] * scale)
        np.testing.assert_array_equal(found.quantiles[name]["0.9"], found.median[name])
    logits = home(input_ids=source, decoder_input_ids=torch.tensor([[0]])).logits[0, 0].detach().double()
    logits[1] = -torch.inf
    logits[logits < logits.topk(50).values[-1]] = -torch.inf
    steps = forecast({"series": {"b": series["b"]}}, num_answers=1000, max_new_tokens=1)
    chances = np.bincount(np.clip(np.arange(60) - 3, 0, 56), logits.softmax(0).numpy())
    median = centres[np.searchsorted(chances.cumsum(), 0.5)] * scale
    below, above = (chances[centres * scale < median].sum(), chances[centres * scale > median].sum())
    assert len(steps.median["b"]) == 1
    assert below <= 0.5 >= above
    spread = np.searchsorted(chances.cumsum(), [0.44, 0.56])
    assert centres[spread[0]] * scale <= steps.median["b"][0] <= centres[spread[1]] * scale


def test_an_answer_depends_on_its_seed_and_not_on_its_company(tmp_path: Path) -> None:
    checkpoint(tmp_path / "home")
    forecast = anyformer.pipeline("finance/sampled-forecast", model=tmp_path / "home")
    inputs = [{"series": {"a": RNG.normal(size=size).tolist()}} for size in (24, 3, 11)]
    together = forecast(inputs, seed=3)
    assert [forecast(each, seed=3) for each in inputs] == together
    assert forecast(inputs[0], seed=4) != together[0]


def test_a_checkpoint_is_evaluated_exported_and_read_again(tmp_path: Path) -> None:
    checkpoint(tmp_path / "home")
    rows = [{"a": str(value)} for value in RNG.normal(size=40)]
    told = anyformer.evaluate(model=tmp_path / "home", data=rows)
    assert np.isfinite(told.scores["mse"]["value"])
    anyformer.export(anyformer.load(tmp_path / "home"), tmp_path / "out")
    written = json.loads((tmp_path / "out" / "config.json").read_text())
    assert written == json.loads((tmp_path / "home" / "config.json").read_text())


@pytest.mark.parametrize(
    ("bins", "changes", "said"),
    [
        ({"tokenizer_class": "Other"}, {}, "'tokenizer_class' of 'chronos_config' is 'Other'; supported: 'Mean"),
        ({"model_type": "causal"}, {}, "'model_type' of 'chronos_config' is 'causal'; supported: 'seq2seq'"),
        ({"temperature": 0.5}, {}, "'temperature' of 'chronos_config' is 0.5; supported: 1.0"),
        ({"tokenizer_kwargs": {"low": 1}}, {}, "'tokenizer_kwargs' is {'low': 1}; supported: 'low_limit' and 'high_"),
        ({"n_tokens": 50}, {}, "'vocab_size' is 60; supported: that of 'chronos_config', 50"),
        ({"pad_token_id": 1}, {}, "'decoder_start_token_id' is 0; supported: that of 'chronos_config', 1"),
        ({}, {"chronos_config": {"tokenizer_kwargs": {}}}, "'chronos_config' lacks 'context_length'"),
        ({}, {"chronos_config": 4}, "'chronos_config' is 4; it must be a mapping with: tokenizer_kwargs"),
        ({}, {"architectures": ["ChronosBoltModelForForecasting"]}, "unknown architecture 'ChronosBoltModelForFore"),
    ],
)  # fmt: skip
def test_checkpoints_that_are_not_supported(
    bins: dict[str, Any], changes: dict[str, Any], said: str, tmp_path: Path
) -> None:
    checkpoint(tmp_path / "home", bins, **changes)
    with pytest.raises(ValueError, match=said):
        anyformer.load(tmp_path / "home")


def test_a_model_made_here_goes_there(tmp_path: Path) -> None:
    from anyformer.artifact import Artifact, build_model

    stack = {**SampledForecast.default_trunk["encoder"], "attention": {
        "heads": 4, "bias": False, "output_bias": False, "scale": 1.0, "head_width": 16}}  # fmt: skip
    trunk = Trunk.model_validate({"encoder": stack, "decoder": {**stack, "causal": True, "cross": True}})
    anyformer.export(
        Artifact(build_model(trunk, {"finance/sampled-forecast": task(look_back=24)}), trunk), tmp_path / "o"
    )
    home = transformers.T5ForConditionalGeneration.from_pretrained(tmp_path / "o")
    said = {"low_limit": -15.0, "high_limit": 15.0}
    assert home.config.chronos_config == BINS | {"prediction_length": 3, "tokenizer_kwargs": said}
    anyformer.load(tmp_path / "o")
