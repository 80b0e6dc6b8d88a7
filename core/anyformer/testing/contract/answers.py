"""The contract, third part: what a task answers when it has learned eight records by heart."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from anyformer import api, artifact, cli
from anyformer.infer.evaluate import Evaluation
from anyformer.task import Array
from anyformer.testing.compare import difference
from anyformer.testing.contract import *  # noqa: F403 - its fixtures
from anyformer.testing.elsewhere import Elsewhere, answers, predictions
from anyformer.testing.subject import Small, Subject

FRACTION = 0.5
"""Of the first loss, to which eight records are learned; label smoothing leaves some of it for ever."""
MAX_ROW_BYTES = 64
Lesson = tuple[Small, float, float]


@pytest.fixture(scope="session")
def lesson(subject: Subject) -> Lesson:
    """A small model that has learned eight records by heart, and its loss before and after."""
    small = subject.model()
    return small, *small.learn_by_heart()


@pytest.fixture(scope="session")
def learned(lesson: Lesson) -> Small:
    """The small model of the lesson."""
    return lesson[0]


@pytest.fixture(scope="session")
def saved(learned: Small, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder it is saved in."""
    folder = tmp_path_factory.mktemp("saved") / "model"
    artifact.save(learned.artifact, folder)
    return folder


@pytest.fixture(scope="session")
def evaluation(learned: Small) -> Evaluation:
    """Its scores on its own examples."""
    assert learned.task.baselines(), "baselines() is empty; something trivial can always be answered"
    return api.evaluate(learned.id, model=learned.artifact, data=learned.rows)


@pytest.fixture(scope="session")
def elsewhere() -> Iterator[Elsewhere]:
    """Another process."""
    process = Elsewhere()
    yield process
    process.close()


def test_eight_records_are_learned_by_heart(lesson: Lesson, subject: Subject, evaluation: Evaluation) -> None:
    """The loss falls, and the deciding score is no worse than that of a model that has learned nothing."""
    small, first, last = lesson
    assert last < FRACTION * first, (
        f"the loss fell from {first:.4f} to {last:.4f} only; do the targets fit the parts, does the head read the right "
        "stream, is label smoothing or dropout of the config very strong?"
    )
    metric = small.task.metrics()[0]
    name = metric.names[0]
    start = api.evaluate(small.id, model=subject.model().artifact, data=small.rows)
    before, after = (found.scores[name]["value"] for found in (start, evaluation))
    assert after >= before if metric.higher_is_better else after <= before, (
        f"the loss fell, but {name} went from {before:.4f} to {after:.4f}; does decode answer what learn taught, is "
        f"{type(metric).__name__}.higher_is_better right?"
    )


def test_an_answer_does_not_depend_on_its_company(learned: Small) -> None:
    """Predictions and outputs of all records at once and of each alone, to 1e-5 of the greatest number."""
    asked, inputs = learned.pipeline, [record.input for record in learned.records]
    together = zip(inputs, predictions(asked, inputs), asked(inputs), strict=True)
    for place, (input, shared, output) in enumerate(together, start=1):
        (alone,) = predictions(asked, [input])
        pairs = [(one.values, other.values) for one, other in zip(alone, shared, strict=True)]
        found = next((text for one, other in pairs for name in one if (text := _moved(name, one, other))), "")
        assert not found, f"prediction {place}: {found}; does embedding, head or solver mix the sequences of a pack?"
        found = difference(output, asked(input), tolerance=1e-5)
        assert not found, f"answer {place} depends on the others: {found}; does decode keep something between calls?"


def _moved(name: str, alone: dict[str, Array], shared: dict[str, Array]) -> str:
    """How the values of a name differ, each measured by its own greatest number."""
    return difference({name: shared[name]}, {name: alone[name]}, tolerance=1e-5)


def test_a_saved_model_answers_the_same_in_another_process(learned: Small, saved: Path, elsewhere: Elsewhere) -> None:
    """Bit for bit, with the same number of threads."""
    inputs = [record.input.model_dump_json() for record in learned.records]
    here, there = answers(learned.pipeline, inputs), elsewhere.answers(learned.id, saved, inputs)
    found = difference(there["outputs"], here["outputs"])
    where = "is all that was learned from data in the state that fit returns, or in what a tokenizer saves?"
    assert not found, f"in another process {found}; {where}"
    assert there["predictions"] == here["predictions"], f"in another process the predictions have other bits; {where}"


def test_an_evaluation_is_honest(learned: Small, evaluation: Evaluation) -> None:
    """A score has an interval, stands beside baselines and leads to a verdict; all of it is printed."""
    names = [name for metric in learned.task.metrics() for name in metric.names]
    assert list(evaluation.scores) == names, f"metrics() promises {names} and gives {list(evaluation.scores)}"
    score = evaluation.scores[names[0]]
    assert score["low"] <= score["value"] <= score["high"], f"{names[0]} lies outside of its interval: {score}"
    for name, values in evaluation.baselines.items():
        assert list(values) == names, f"the baseline {name!r} has the scores {list(values)}, not {names}"
    assert evaluation.verdict in ("skill", "no skill")
    missing = [name for name in [*names, *evaluation.baselines, evaluation.verdict] if name not in str(evaluation)]
    assert not missing


def test_a_record_keeps_64_bytes_of_an_evaluation(learned: Small) -> None:
    """So that memory does not grow with the data."""
    metrics, record = learned.task.metrics(), learned.records[0]
    output = learned.pipeline(record.input)
    sizes = {type(m).__name__: len(m.row(output, record.target)) * np.dtype(m.dtype).itemsize for m in metrics}
    assert sum(sizes.values()) <= MAX_ROW_BYTES, f"bytes of a record: {sizes}; keep sums, or set dtype to float32"


def test_an_answer_can_be_drawn(learned: Small) -> None:
    """With the truth beside it and without."""
    from matplotlib.figure import Figure

    record = learned.records[0]
    output = learned.pipeline(record.input)
    for target in (None, record.target):
        figure = learned.task.draw(record.input, output, target)
        assert isinstance(figure, Figure), f"draw gives {type(figure).__name__}; return a matplotlib.figure.Figure"
        figure.savefig(io.BytesIO(), format="png", dpi=40)


def test_it_is_reached_from_the_shell(
    learned: Small, saved: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`anyformer run TASK --model M`: a line of JSON in, a line of JSON out."""
    inputs = [record.input for record in learned.records[:2]]
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n".join(input.model_dump_json() for input in inputs)))
    code = cli.main(["run", learned.id, "--model", str(saved)])
    printed = capsys.readouterr()
    assert code == 0, printed.err
    found = [learned.task.Output.model_validate_json(line) for line in printed.out.splitlines()]
    assert not difference(found, learned.pipeline(inputs), tolerance=1e-5)
