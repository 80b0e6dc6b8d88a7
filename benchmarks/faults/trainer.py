"""transformers' Trainer, as a script uses it: it resumes with `resume_from_checkpoint=True`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers

from benchmarks.faults.systems import SAVE_EVERY, STEPS, Listener, System


class _Heard(transformers.TrainerCallback):
    """Passes on what a run tells."""

    def __init__(self, listener: Listener) -> None:
        self.listener = listener

    def on_step_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Before the step is logged and saved."""
        self.listener.step_ended(state.global_step)

    def on_save(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """When it is on disk."""
        self.listener.saved()


class Trainer(System):
    """A BERT of the same length, width and depth."""

    weights_file = "model.safetensors"

    def __init__(self, rows: Sequence[Mapping[str, str]], **arguments: Any) -> None:
        words = {word: place for place, word in enumerate(sorted({w for row in rows for w in row["text"].split()}))}
        labels = sorted({row["label"] for row in rows})
        self.words, self.labels, self.arguments = words, labels, arguments
        self.rows = [
            {"input_ids": [words[word] for word in row["text"].split()], "labels": labels.index(row["label"])}
            for row in rows
        ]
        self.name = "Trainer" + "".join(f", {key}" for key in arguments)

    def begin(self, folder: Path, listener: Listener, **options: Any) -> int:
        """Dropout is on, unless asked otherwise."""
        return self._train(folder, listener, None, **options)

    def resume(self, folder: Path, listener: Listener, **options: Any) -> int:
        """A script says that it resumes; the same script, with the same settings."""
        return self._train(folder, listener, True, **options)

    def _train(
        self, folder: Path, listener: Listener, resume: bool | None, *, steps: int = STEPS,
        save_every: int = SAVE_EVERY, keep: int = 9, dropout: bool = True,
    ) -> int:  # fmt: skip
        transformers.set_seed(0)
        share = 0.1 if dropout else 0.0
        config = transformers.BertConfig(
            vocab_size=len(self.words), hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
            intermediate_size=64, num_labels=len(self.labels), hidden_dropout_prob=share,
            attention_probs_dropout_prob=share,
        )  # fmt: skip
        arguments = transformers.TrainingArguments(
            output_dir=str(folder), max_steps=steps, save_steps=save_every, save_total_limit=keep, logging_steps=1,
            per_device_train_batch_size=8, learning_rate=1e-3, seed=0, report_to="none", use_cpu=True,
            disable_tqdm=True, **self.arguments,
        )  # fmt: skip
        trainer = transformers.Trainer(
            transformers.BertForSequenceClassification(config), arguments, train_dataset=self.rows,
            data_collator=transformers.default_data_collator, callbacks=[_Heard(listener)],
        )  # fmt: skip
        trainer.train(resume_from_checkpoint=resume)
        trainer.save_model(str(folder / "model"))
        trainer.save_state()
        return 0

    def checkpoints(self, folder: Path) -> dict[int, Path]:
        """Names end with the step."""
        found = {int(path.name.rpartition("-")[2]): path for path in folder.glob("checkpoint-*")}
        return dict(sorted(found.items()))

    def final_weights(self, folder: Path) -> Path:
        """As `save_model` wrote it."""
        return folder / "model" / "model.safetensors"

    def lines(self, folder: Path) -> list[Mapping[str, Any]]:
        """Of trainer_state.json, without the summary of times at its end."""
        found: list[dict[str, Any]] = json.loads((folder / "trainer_state.json").read_text())["log_history"]
        return [line for line in found if "loss" in line]

    def is_model(self, module: torch.nn.Module) -> bool:
        """The whole is a `PreTrainedModel` that gives a loss."""
        return isinstance(module, transformers.BertForSequenceClassification)

    def spoil(self, found: Any, number: float) -> Any:
        """A model's output, with its loss."""
        found["loss"] = found["loss"] * number
        return found
