"""The contract is worth something only if it notices: a healthy plugin is broken in one place, and one promise must fail.

The healthy plugin is the toy of the examples, registered for this module alone.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from pydantic import Field, create_model

from anyformer import api, plugins
from anyformer.heads import Classifier
from anyformer.task import Sample
from anyformer.testing.contract import answers, data, learning
from anyformer.testing.elsewhere import answers as answered
from anyformer.testing.subject import Subject

TOY = Path(__file__).resolve().parents[2] / "examples" / "anyformer-toy"


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The toy's module, its plugin installed as far as anyone can see."""
    info = tmp_path_factory.mktemp("site") / "anyformer_toy-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: anyformer-toy\nVersion: 0.1.0\n")
    (info / "entry_points.txt").write_text("[anyformer]\ntoy = anyformer_toy\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(TOY)
        patch.syspath_prepend(info.parent)
        plugins.reload()
        import anyformer_toy.key

        yield anyformer_toy.key
    plugins.reload()
    for name in [name for name in sys.modules if name.startswith("anyformer_toy")]:
        del sys.modules[name]


Break = Callable[[Any, pytest.MonkeyPatch], None]


def global_randomness(toy: Any, patch: pytest.MonkeyPatch) -> None:
    honest = toy.FindKey.learn

    def learn(self: Any, record: Any, rng: Any) -> list[Sample]:
        (sample,) = honest(self, record, rng)
        keep = np.random.random(len(sample.parts["source"])) < 0.8
        keep[0] = True
        return [Sample({"source": sample.parts["source"][keep]}, sample.targets)]

    patch.setattr(toy.FindKey, "learn", learn)


def memory_between_calls(toy: Any, patch: pytest.MonkeyPatch) -> None:
    honest = toy.FindKey.learn

    def learn(self: Any, record: Any, rng: Any) -> list[Sample]:
        self.calls = getattr(self, "calls", 0) + 1
        (sample,) = honest(self, record, rng)
        sample.parts["source"] = np.roll(sample.parts["source"], self.calls)
        return [sample]

    patch.setattr(toy.FindKey, "learn", learn)


def narrow_ids(toy: Any, patch: pytest.MonkeyPatch) -> None:
    honest = toy.Pitches.encode
    patch.setattr(toy.Pitches, "encode", lambda self, raw: {"ids": honest(self, raw)["ids"].astype(np.int32)})


def deaf(toy: Any, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(toy.FindKey, "ids", lambda self, input: np.zeros(1, np.int64))


def mean_loss(toy: Any, patch: pytest.MonkeyPatch) -> None:
    def head(self: Any, trunk: Any) -> Classifier:
        class Mean(Classifier):
            def loss(self, streams: Any, targets: Any) -> Any:
                return {
                    name: value / 3 ** len(targets["label"].values)
                    for name, value in super().loss(streams, targets).items()
                }

        return Mean(trunk.output.width, len(toy.KEYS))

    patch.setattr(toy.FindKey, "head", head)


def batch_norm(toy: Any, patch: pytest.MonkeyPatch) -> None:
    def head(self: Any, trunk: Any) -> Classifier:
        class Centred(Classifier):
            def forward(self, streams: Any, at: Any = None) -> Any:
                logits = super().forward(streams, at)
                return logits - 0.01 * logits.mean(0)

        return Centred(trunk.output.width, len(toy.KEYS))

    patch.setattr(toy.FindKey, "head", head)


def unsaved_state(toy: Any, patch: pytest.MonkeyPatch) -> None:
    honest = toy.FindKey.decode

    def fit(self: Any, records: Any) -> dict[str, Any]:
        self.learned = 0.5
        return {}

    def decode(self: Any, *given: Any) -> Any:
        found = honest(self, *given)
        return found.model_copy(update={"probability": found.probability * getattr(self, "learned", 1.0)})

    patch.setattr(toy.FindKey, "fit", fit)
    patch.setattr(toy.FindKey, "decode", decode)


def decode_keeps(toy: Any, patch: pytest.MonkeyPatch) -> None:
    honest = toy.FindKey.decode

    def decode(self: Any, *given: Any) -> Any:
        self.seen = getattr(self, "seen", 0) + 1
        return honest(self, *given).model_copy(update={"probability": 1 / self.seen})

    patch.setattr(toy.FindKey, "decode", decode)


def hidden_field(toy: Any, patch: pytest.MonkeyPatch) -> None:
    hiding = create_model("Hiding", __base__=toy.FoundKey, probability=(float, Field(default=1.0, exclude=True)))
    patch.setattr(toy, "FoundKey", hiding)


def untyped_input(toy: Any, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(toy.FindKey, "Input", create_model("Loose", __base__=toy.Data, notes=(Any, ...)))


def nameless_error(toy: Any, patch: pytest.MonkeyPatch) -> None:
    def encode(self: Any, raw: Any) -> Any:
        raise ValueError("no")

    patch.setattr(toy.FindKey, "Input", create_model("Loose", __base__=toy.Data, notes=(Any, ...)))
    patch.setattr(toy.Pitches, "encode", encode)


def few_examples(toy: Any, patch: pytest.MonkeyPatch) -> None:
    rows = toy.FindKey.examples()[:3]
    patch.setattr(toy.FindKey, "examples", classmethod(lambda cls: rows))


def wrong_sign(toy: Any, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(toy.Closeness, "higher_is_better", False)


def wide_rows(toy: Any, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(toy.Closeness, "row", lambda self, output, target: [0.0] * 9)


def wrong_picture(toy: Any, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(toy.FindKey, "draw", lambda self, input, output, target=None: None)


class Bench:
    """What the tests of the contract are given, made for a task that is broken by now."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.subject = Subject.of("toy/key")
        self.fresh = self.subject.model()

    def by_heart(self) -> None:
        lesson = (self.fresh, *self.fresh.learn_by_heart())
        evaluation = api.evaluate("toy/key", model=self.fresh.artifact, data=self.fresh.rows)
        answers.test_eight_records_are_learned_by_heart(lesson, self.subject, evaluation)

    def elsewhere(self) -> None:
        api.artifacts.save(self.fresh.artifact, self.folder / "model")
        again = SimpleNamespace(answers=lambda task, model, inputs: answered(api.pipeline(task, model=model), inputs))
        answers.test_a_saved_model_answers_the_same_in_another_process(self.fresh, self.folder / "model", again)

    def resumed(self) -> None:
        whole, killed = self.subject.run(self.folder / "whole"), self.subject.run(self.folder / "killed", killed=True)
        runs = whole, api.resume(killed.folder, data=self.subject.rows)
        learning.test_the_same_seed_gives_the_same_weights(runs)
        learning.test_a_resumed_run_equals_the_uninterrupted_one(runs)


PROMISES: dict[str, Callable[[Bench], None]] = {
    "examples": lambda bench: data.test_examples_are_eight_records_or_more(bench.fresh),
    "json": lambda bench: data.test_input_and_output_survive_json(bench.fresh),
    "bad input": lambda bench: data.test_bad_input_is_named(bench.fresh),
    "randomness": lambda bench: data.test_learn_sees_only_its_own_randomness(bench.fresh),
    "samples": lambda bench: data.test_encode_gives_what_learn_gives_without_targets(bench.fresh),
    "micro-packs": lambda bench: learning.test_micro_packs_add_up(bench.fresh),
    "resume": Bench.resumed,
    "by heart": Bench.by_heart,
    "company": lambda bench: answers.test_an_answer_does_not_depend_on_its_company(bench.fresh),
    "elsewhere": Bench.elsewhere,
    "row": lambda bench: answers.test_a_record_keeps_64_bytes_of_an_evaluation(bench.fresh),
    "picture": lambda bench: answers.test_an_answer_can_be_drawn(bench.fresh),
}

FAULTS: list[tuple[Break, str, str]] = [
    (global_randomness, "randomness", "draw from the rng it is given"),
    (global_randomness, "resume", "two runs with one seed differ at step 2"),
    (memory_between_calls, "resume", "resumed, the run ends with another"),
    (narrow_ids, "samples", "'source' is int32; ids are int64"),
    (deaf, "by heart", "the loss fell from"),
    (mean_loss, "micro-packs", "must return sums"),
    (batch_norm, "company", "mix the sequences of a pack"),
    (decode_keeps, "company", "does decode keep something"),
    (unsaved_state, "elsewhere", "in the state that fit returns"),
    (hidden_field, "json", "FoundKey is not the same|Hiding is not the same"),
    (untyped_input, "bad input", "with an object.. as 'notes' raises AttributeError, not ValueError"),
    (nameless_error, "bad input", "does not name the field: input 1: no"),
    (few_examples, "examples", "makes 3 records"),
    (wrong_sign, "by heart", "is Closeness.higher_is_better right"),
    (wide_rows, "row", "'Closeness': 72"),
    (wrong_picture, "picture", "draw gives NoneType"),
]


@pytest.mark.parametrize(("fault", "promise", "said"), FAULTS, ids=lambda value: getattr(value, "__name__", value))
def test_a_fault_is_found(
    fault: Break, promise: str, said: str, toy: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fault(toy, monkeypatch)
    with pytest.raises((AssertionError, pytest.fail.Exception), match=said):
        PROMISES[promise](Bench(tmp_path))


def test_a_healthy_task_keeps_every_promise(toy: Any, tmp_path: Path) -> None:
    for name, keep in PROMISES.items():
        keep(Bench(tmp_path / name))
