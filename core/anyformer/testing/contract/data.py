"""The contract, first part: what a plugin names, what a task takes, and what it shows the model."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch

from anyformer import plugins
from anyformer.infer.pipeline import Pipeline
from anyformer.task import Sample
from anyformer.testing import cutoff
from anyformer.testing.compare import difference
from anyformer.testing.contract import *  # noqa: F403 - its fixtures
from anyformer.testing.subject import NUM_RECORDS, Small

HEAVY = ("torch", "sklearn", "matplotlib", "Bio", "timm", "transformers")
"""What listing tasks and writing forms for them must not wait for."""


def test_everything_a_plugin_names_resolves(domain: str) -> None:
    """As `anyformer plugins check` has it."""
    problems = [f"{problem.what}: {problem.reason}; to mend it: {problem.fix}" for problem in plugins.check(domain)]
    assert not problems, "\n".join(problems)


def test_importing_a_task_imports_no_heavy_library() -> None:
    """Its Input and Options become flags and forms, so listing tasks must be instant."""
    code = (
        "import json, sys; from anyformer import plugins; found = {}\n"
        "for id in plugins.tasks():\n"
        f"    plugins.task(id); found[id] = [name for name in {HEAVY} if name in sys.modules]\n"
        "print(json.dumps(found))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    heavy = {id: names for id, names in json.loads(done.stdout.splitlines()[-1]).items() if names}
    assert not heavy, (
        f"{next(iter(heavy))} imports {next(iter(heavy.values()))}; import inside the methods that use them"
    )


def test_examples_are_eight_records_or_more(fresh: Small) -> None:
    """`examples` is the data of all these tests."""
    found = len(fresh.task.records(fresh.rows))
    assert found >= NUM_RECORDS, f"examples() makes {found} records; give rows for {NUM_RECORDS} or more"


def test_input_and_output_survive_json(fresh: Small) -> None:
    """So that they can be sent, logged and asked for in a form."""
    inputs = [record.input for record in fresh.records]
    for value in [*inputs, *fresh.pipeline(inputs)]:
        again = type(value).model_validate_json(value.model_dump_json())
        what = difference(again, value) or "its fields are equal, see __eq__"
        assert again == value, f"{type(value).__name__} is not the same after JSON: {what}"


def test_bad_input_is_named(fresh: Small) -> None:
    """A missing field and a value of a wrong type raise `ValueError` in one line that names the field."""
    fields, row = fresh.task.Input.model_fields, fresh.records[0].input.model_dump()
    wrong = [(name, {**row, name: object()}, f"with an object() as {name!r}") for name in fields]
    for name in [name for name, field in fields.items() if field.is_required()]:
        wrong.append((name, {other: row[other] for other in row if other != name}, f"without {name!r}"))
    for name, given, what in wrong:
        message = _refusal(fresh.pipeline, given, what)
        assert f"'{name}" in message, f"an input {what} gives an error that does not name the field: {message}"
        assert "\n" not in message, f"an input {what} gives an error of several lines: {message}"


def _refusal(pipeline: Pipeline, given: dict[str, Any], what: str) -> str:
    """The message with which an input is refused."""
    try:
        pipeline(given)
    except ValueError as error:
        return str(error)
    except Exception as error:
        pytest.fail(f"an input {what} raises {type(error).__name__}, not ValueError: {error}")
    pytest.fail(f"an input {what} is accepted; give the field a type")


def test_learn_sees_only_its_own_randomness(fresh: Small) -> None:
    """Augmentation is a function of the generator a record is given, so that a run can be resumed."""
    drawn = []
    for seed in (1, 2):
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        drawn.append([fresh.task.learn(record, np.random.default_rng(0)) for record in fresh.records])
    found = difference(drawn[1], drawn[0])
    assert not found, (
        f"learn gives other samples for the same rng, {found}; draw from the rng it is given, and no other"
    )


def test_encode_gives_what_learn_gives_without_targets(fresh: Small) -> None:
    """The model meets the same kinds of parts in training and in use."""
    task = fresh.task
    for record in fresh.records:
        learned = task.learn(record, np.random.default_rng(0))
        encoded = task.encode(record.input, task.Options())
        for name, array in [pair for sample in [*learned, *encoded] for pair in _arrays(sample)]:
            assert isinstance(array, np.ndarray), f"{name!r} is {type(array).__name__}; it must be a numpy array"
            assert array.ndim, f"{name!r} has no axis; write a scalar as an array of length 1"
            assert array.dtype in (np.int64, np.float32), f"{name!r} is {array.dtype}; ids are int64, values float32"
        assert all(sample.targets for sample in learned), "learn gives a sample without targets"
        assert not any(sample.targets for sample in encoded), "encode gives targets; it must not know any"
        kinds = [{_kind(sample) for sample in samples} for samples in (learned, encoded)]
        assert kinds[0] == kinds[1], f"learn gives {kinds[0]}, encode gives {kinds[1]}; they must be alike"


def _arrays(sample: Sample) -> list[tuple[str, Any]]:
    return [*sample.parts.items(), *sample.targets.items()]


def _kind(sample: Sample) -> tuple[Any, ...]:
    """Names, types and widths of the parts, in order."""
    return tuple((name, str(part.dtype), part.shape[1:]) for name, part in sample.parts.items())


def test_nothing_after_the_cut_off_moves_the_answer(fresh: Small) -> None:
    """Of a temporal task: not the later rows, and not the rows that the target is made of."""
    if not fresh.task.temporal:
        pytest.skip("its records are in no order of time (Task.temporal)")
    timeline = cutoff.Timeline(fresh.task, fresh.rows)
    leak = timeline.later_rows_reach() or timeline.target_reaches()
    assert not leak, f"the future is seen: {leak}"
    leak = cutoff.swapped_target_reaches(fresh)
    assert not leak, f"the source of a training sample depends on its target: {leak}"


def test_no_token_of_the_target_moves_what_is_before_it(fresh: Small) -> None:
    """Of a task with a decoder: it would learn to copy, and write nonsense."""
    if fresh.task.trunk == "encoder":
        pytest.skip("it has no decoder")
    leak = cutoff.changed_token_reaches(fresh)
    assert not leak, f"{leak}; is decoder.causal true in default_trunk, and nothing else mixing tokens?"
