"""Another process that loads a saved model and answers, one line of JSON for one line of JSON.

It is started once for all tasks, because importing torch takes longer than their answers.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from anyformer.infer.pipeline import Pipeline
from anyformer.task import Prediction, resolve


def predictions(pipeline: Pipeline, inputs: Sequence[Any]) -> list[list[Prediction]]:
    """What the task's solver says of all inputs at once: the predictions of each input's samples."""
    task, options = pipeline.task, pipeline.options()
    samples = [task.encode(input, options) for input in inputs]
    together = [sample for each in samples for sample in each]
    solver = resolve(task.solver)
    found = dict(solver(pipeline.model, pipeline.component, together, options, [0] * len(together)))
    ordered = iter([found[index] for index in range(len(together))])
    return [[next(ordered) for _ in each] for each in samples]


def answers(pipeline: Pipeline, inputs: Sequence[str]) -> dict[str, Any]:
    """Outputs to inputs in JSON, and a hash of every bit of the predictions behind them."""
    read = [pipeline.task.Input.model_validate_json(text) for text in inputs]
    digest = hashlib.sha256()
    for prediction in [prediction for each in predictions(pipeline, read) for prediction in each]:
        for name, values in prediction.values.items():
            digest.update(f"{name} {values.dtype} {values.shape}".encode())
            digest.update(values.tobytes())
    outputs = [output.model_dump(mode="json") for output in pipeline(read)]
    return {"outputs": outputs, "predictions": digest.hexdigest()}


class Elsewhere:
    """The other process, seen from this one."""

    def __init__(self) -> None:
        import torch

        command = [sys.executable, "-m", __name__, str(torch.get_num_threads())]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def answers(self, task: str, model: Path, inputs: Sequence[str]) -> dict[str, Any]:
        """As `answers`, by a model that it loads from a folder."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"task": task, "model": str(model), "inputs": list(inputs)}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, f"the other process ended with code {self._process.wait()}; what it said is on standard error"
        found: dict[str, Any] = json.loads(line)
        assert "error" not in found, f"in another process: {found['error']}"
        return found

    def close(self) -> None:
        """End it."""
        self._process.communicate()


def main() -> None:
    """Answer questions from standard input until it ends; whatever a plugin prints goes to standard error."""
    import torch

    from anyformer import api

    torch.set_num_threads(int(sys.argv[1]))
    out = sys.stdout
    for line in sys.stdin:
        asked = json.loads(line)
        with contextlib.redirect_stdout(sys.stderr):
            try:
                found = answers(api.pipeline(asked["task"], model=asked["model"]), asked["inputs"])
            except Exception as error:  # it goes back to the test that asked
                found = {"error": f"{type(error).__name__}: {error}"}
        out.write(json.dumps(found) + "\n")
        out.flush()


if __name__ == "__main__":
    main()
