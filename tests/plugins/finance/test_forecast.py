from __future__ import annotations

import copy
import csv
import gzip
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anyformer.task import Prediction
from anyformer_finance.forecast import Forecast
from anyformer_finance.schema import Input, Output

Make = Callable[..., Any]
RNG = np.random.default_rng(0)


def predictions(samples: list[Any], levels: int = 9) -> list[Prediction]:
    drawn = np.sort(RNG.normal(size=(len(samples), 4, levels)).astype(np.float32), axis=-1)
    return [Prediction({"quantiles": quantiles}) for quantiles in drawn]


def test_one_sample_for_each_series_of_standardised_patches(task: Forecast, record: Any) -> None:
    samples = task.encode(record.input, task.Options())
    assert [sample.notes["name"] for sample in samples] == ["a", "b"]
    history = record.input.series["a"]
    expected = task.tokens["patches"].encode((history - history.mean()) / history.std())["patches"]
    np.testing.assert_allclose(samples[0].parts["source"], expected, atol=1e-4)
    assert samples[0].parts["source"].dtype == np.float32
    assert not samples[0].targets


def test_the_target_is_on_the_scale_of_its_window_and_decode_undoes_it(task: Forecast, record: Any) -> None:
    samples = task.learn(record, RNG)
    exact = [Prediction({"quantiles": np.repeat(sample.targets["values"][:, None], 9, axis=1)}) for sample in samples]
    assert samples[0].targets["values"].dtype == np.float32
    output = task.decode(record.input, samples, exact, task.Options())
    for name, values in record.target.future.items():
        np.testing.assert_allclose(output.median[name], values, rtol=1e-5)
        np.testing.assert_allclose(output.quantiles[name]["0.9"], values, rtol=1e-5)


def test_a_missing_true_value_stays_missing(hours: Make, forecast: Make) -> None:
    rows = hours(60)
    rows[26]["a"] = ""
    task = forecast(gaps="fill")
    samples = task.learn(task.records(rows)[0], RNG)
    assert np.isnan(samples[0].targets["values"]).tolist() == [False, False, True, False]
    assert not np.isnan(task.encode(task.records(rows)[5].input, task.Options())[0].parts["source"]).any()


@pytest.mark.parametrize("place", [0, 7, 15])
def test_nothing_after_the_cut_off_reaches_the_input(task: Forecast, hours: Make, place: int) -> None:
    rows, changed = hours(60), hours(60)
    for row in changed[24 + place :]:
        row["a"], row["b"] = "1e6", "-5"
    found, other = (task.records(data)[place] for data in (rows, changed))
    assert found.input == other.input
    assert found.target != other.target
    for one, two in zip(task.encode(found.input, None or task.Options()), task.learn(other, RNG), strict=True):
        np.testing.assert_array_equal(one.parts["source"], two.parts["source"])
        assert one.notes == two.notes


def test_filling_takes_nothing_from_the_future(hours: Make, forecast: Make) -> None:
    rows = hours(60)
    rows[20]["a"] = ""
    changed = copy.deepcopy(rows)
    changed[30]["a"] = "1e6"
    task = forecast(gaps="fill")
    assert task.records(rows)[0].input == task.records(changed)[0].input


def test_the_answer_holds_quantiles_by_series_and_level(task: Forecast, record: Any) -> None:
    samples = task.encode(record.input, task.Options())
    found = predictions(samples)
    output = task.decode(record.input, samples, found, task.Options())
    assert output.levels == list(task.config.quantiles)
    expected = found[1].values["quantiles"][:, 8] * samples[1].notes["scale"] + samples[1].notes["mean"]
    np.testing.assert_allclose(output.quantiles["b"]["0.9"], expected)
    np.testing.assert_array_equal(output.median["b"], output.quantiles["b"]["0.5"])
    assert Output.model_validate_json(output.model_dump_json()) == output
    some = task.decode(record.input, samples, found, task.Options(levels=(0.1, 0.9)))
    assert list(some.quantiles["a"]) == ["0.1", "0.9"]
    np.testing.assert_array_equal(some.median["a"], output.median["a"])


def test_a_user_may_give_plain_lists(task: Forecast, record: Any) -> None:
    values = record.input.series["a"].tolist()
    given = Input(series=[-1, *values])  # type: ignore[arg-type]
    found, expected = task.encode(given, task.Options()), task.encode(record.input, task.Options())
    assert found[0].notes["name"] == "value"
    np.testing.assert_allclose(found[0].parts["source"], expected[0].parts["source"], atol=1e-3)


def test_a_constant_series_is_forecast_as_it_is(task: Forecast) -> None:
    given = Input(series={"new": [7.0] * 24})
    samples = task.encode(given, task.Options())
    assert not samples[0].parts["source"].any()
    assert task.decode(given, samples, predictions(samples), task.Options()).median["new"].tolist() == [7.0] * 4


def test_noise_of_a_series_that_stood_still_is_not_blown_up(task: Forecast) -> None:
    history = np.full(24, 30.0)
    history[3] += 1e-9
    samples = task.encode(Input(series={"a": history}), task.Options())
    assert np.abs(samples[0].parts["source"]).max() < 1e-4


def test_baselines(task: Forecast, record: Any) -> None:
    found = {name: answer(record.input) for name, answer in task.baselines().items()}
    history = record.input.series["b"]
    assert list(found) == ["repeat", "mean", "seasonal-naive"]
    assert found["repeat"].median["b"].tolist() == [history[-1]] * 4
    assert found["mean"].median["b"].tolist() == [history.mean()] * 4
    assert found["seasonal-naive"].median["b"].tolist() == history[-7:-3].tolist()
    assert found["seasonal-naive"].quantiles["b"]["0.1"].tolist() == history[-7:-3].tolist()
    assert Output.model_validate_json(found["mean"].model_dump_json()) == found["mean"]


def test_a_season_shorter_than_the_horizon_is_repeated(record: Any, forecast: Make) -> None:
    answer = forecast(season=3).baselines()["seasonal-naive"](record.input)
    history = record.input.series["b"]
    assert answer.median["b"].tolist() == [*history[-3:], history[-3]]


def test_rows_that_are_records_already(task: Forecast) -> None:
    rows = [{"series": {"x": list(range(24 + row))}, "future": {"x": [1, 2, None, 4]}} for row in range(3)]
    records = task.records(rows)
    assert len(records) == 3
    assert np.isnan(task.learn(records[2], RNG)[0].targets["values"]).tolist() == [False, False, True, False]


def test_the_picture_shows_truth_and_says_what_it_leaves_out(task: Forecast, record: Any) -> None:
    output = task.baselines()["mean"](record.input)
    figure = task.draw(record.input, output, record.target)
    assert [axes.get_title() for axes in figure.axes] == ["a", "b"]
    assert figure.axes[0].get_legend_handles_labels()[1] == ["0.1 to 0.9", "median", "truth"]
    many = Input(series={f"s{place}": np.arange(30.0) for place in range(8)})
    assert task.draw(many, task.baselines()["mean"](many)).get_suptitle() == "6 of 8 series"


def test_the_head_fits_the_patches(task: Forecast) -> None:
    from anyformer.nn.config import Trunk

    trunk = Trunk.model_validate(task.default_trunk)
    assert task.head(trunk)(_streams(task, trunk)).shape == (2, 4, 9)


def _streams(task: Forecast, trunk: Any) -> Any:
    import torch

    from anyformer.nn.pack import Pack, Stream

    patches = task.tokens["patches"].count(task.config.look_back)
    return {"source": Stream(torch.zeros(2 * patches, trunk.output.width), Pack.of([patches, patches]))}


def test_examples_give_eight_records_or_more() -> None:
    from anyformer_finance.tokenizers import Patches

    task = Forecast(Forecast.Config(), {"patches": Patches(Patches.Config())})
    assert len(task.records(task.examples())) >= 8


def test_the_module_imports_no_torch_and_no_heavy_library() -> None:
    heavy = "torch", "sklearn", "matplotlib", "pandas"
    script = f"import sys, anyformer_finance.forecast; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout.strip() == "[]"


# Exact figures of the literature: all test windows, each series in deviations of the training rows.
@pytest.mark.parametrize(
    ("horizon", "mse", "mae"), [(96, "1.2944", "0.7132"), (192, "1.3249", "0.7331"), (336, "1.3299", "0.7460")]
)
def test_repeat_reproduces_the_published_scores(shared: Path, forecast: Make, horizon: int, mse: str, mae: str) -> None:
    with gzip.open(shared / "data/finance/ett/ETTh1.csv.gz", "rt") as file:
        rows = list(csv.DictReader(file))
    sizes = {"look_back": 336, "horizon": horizon}
    task = forecast(forecast(**sizes).records(rows[:8640]), **sizes)
    test = task.records(rows[11520 - 336 : 14400])
    assert len(test) == 2880 - horizon + 1
    repeat, errors = task.baselines()["repeat"], task.metrics()[0]
    scores = errors.scores(np.array([errors.row(repeat(record.input), record.target) for record in test]))
    assert (f"{scores['mse']:.4f}", f"{scores['mae']:.4f}") == (mse, mae)
