"""The Trainer of the transformers library, timed from inside: from the end of its second step, so that what it does before
the first is not counted.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from typing import Any

WARM = 2
"""Steps before the clock starts."""


class Peer:
    """A model that the Trainer trains, a number of steps at a time."""

    def __init__(self, model: Any, rows: Sequence[dict[str, Any]], collator: Any, **arguments: Any) -> None:
        """`arguments` are those of `TrainingArguments` beside what a timed run needs."""
        self.model, self.rows, self.collator, self.arguments = model, rows, collator, arguments

    def rate(self, steps: int) -> float:
        """Steps a second of `steps`."""
        from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

        times: dict[int, float] = {}

        class Clock(TrainerCallback):
            def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
                times[state.global_step] = time.perf_counter()

        quiet()
        with tempfile.TemporaryDirectory() as folder:
            arguments = TrainingArguments(
                output_dir=folder, use_cpu=True, report_to="none", save_strategy="no", disable_tqdm=True,
                dataloader_pin_memory=False, max_steps=WARM + steps, **self.arguments,
            )  # fmt: skip
            trainer = Trainer(
                self.model, arguments, data_collator=self.collator, train_dataset=self.rows, callbacks=[Clock()]
            )
            trainer.remove_callback(PrinterCallback)
            trainer.train()
        return steps / (times[WARM + steps] - times[WARM])


def quiet() -> None:
    """Let the library print neither warnings nor bars."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
