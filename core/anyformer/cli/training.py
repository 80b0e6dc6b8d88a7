"""What `finetune`, `pretrain` and `resume` share: progress while it runs, scores at the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from anyformer.cli.output import note, write, write_json


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
        note(str(stopped))
        return stopped.code
    finally:
        plugins.unregister(listener)
    if json:
        write_json({"run": str(run.folder), "model": str(run.model), "evaluation": run.scores})
        return 0
    if summary := _summary(run.scores):
        write(summary)
    write(f"model: {run.model}   report: {run.folder / 'report.html'}")
    return 0


def _summary(scores: dict[str, Any]) -> str:
    from anyformer.report.words import number

    if "task" not in scores:
        return "\n".join(f"{name}: {number(value)}" for name, value in scores.items())
    from anyformer.infer.evaluate import Evaluation

    return str(Evaluation(**scores))
