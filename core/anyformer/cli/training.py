"""What `finetune`, `pretrain` and `resume` share: progress while it runs, scores at the end."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from anyformer.cli.output import note, write, write_json, write_table

COLUMNS = ("part", "score", "value", "95 % interval", "baselines", "verdict")
"""Of the table that a mixture ends with."""


def run_and_print(train: Callable[[], Any], json: bool) -> int:
    """Train with a progress display and print the run's folder and scores.

    A run that was stopped by a signal has saved: it says how to go on, and exits with 128 + the signal's number.
    """
    from anyformer import plugins
    from anyformer.progress import Progress
    from anyformer.train.stop import Stopped

    listener = Progress()
    plugins.register(listener)
    try:
        run = train()
    except Stopped as stopped:
        if _speaks():
            note(str(stopped))
        return stopped.code
    finally:
        plugins.unregister(listener)
    if not _speaks():
        return 0
    if json:
        write_json({"run": str(run.folder), "model": str(run.model), "evaluation": run.scores})
        return 0
    _print_scores(run.scores)
    write(f"model: {run.model}   report: {run.folder / 'report.html'}")
    return 0


def _speaks() -> bool:
    """Of the processes of a run, the first one does."""
    return os.environ.get("RANK", "0") == "0"


def _print_scores(scores: dict[str, Any]) -> None:
    """An evaluation as `evaluate` prints it, the scores of an objective, or a table with a row for each part."""
    from anyformer.infer.evaluate import Evaluation
    from anyformer.report.words import number

    if "task" in scores:
        write(str(Evaluation(**scores)))
    elif any(isinstance(found, dict) for found in scores.values()):
        write_table(COLUMNS, [_row(id, found) for id, found in scores.items()])
    else:
        for name, value in scores.items():
            write(f"{name}: {number(value)}")


def _row(id: str, found: dict[str, Any]) -> list[str]:
    """The deciding score of one part of a mixture, under `COLUMNS`."""
    from anyformer.report.words import NONE, number

    if "task" not in found:
        ((name, value),) = found.items()
        return [id, name, number(value), NONE, NONE, NONE]
    metric, score = next(iter(found["scores"].items()))
    span = f"{number(score['low'])} to {number(score['high'])}"
    beside = ", ".join(f"{name} {number(values[metric])}" for name, values in found["baselines"].items())
    return [id, metric, number(score["value"]), span, beside, found["verdict"]]
