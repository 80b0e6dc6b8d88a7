"""Metrics of a text that goes on from another: `ContinuationChrf` and `FirstWord`.

* An answer that ended at a limit of length is compared with the beginning of the truth, as many characters of it; one that
  ended by itself, with all of it.
* The space between the prompt and what follows does not count.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from anyformer.metrics import Accuracy
from anyformer.metrics.base import Weighted
from anyformer.task import Array
from anyformer_nlp.metrics import Chrf


class ContinuationChrf(Weighted):
    """chrF in percent (Popović 2015) of what was written, beside what follows the prompt in truth."""

    names = ("chrf",)
    dtype = "float32"

    def __init__(self) -> None:
        self.chrf = Chrf()

    def row(self, output: Any, target: Any) -> Sequence[float]:
        """As of `Chrf`."""
        said, true = output.text.strip(), target.continuation.strip()
        if output.ended == "limit":
            true = true[: len(said)]
        return self.chrf.row(SimpleNamespace(text=said), SimpleNamespace(translation=true))

    def weighted(self, rows: Array, counts: Array) -> dict[str, Array]:
        """Scores [R] from rows [N, 8] and counts [R, N]."""
        return self.chrf.weighted(rows, counts)


class FirstWord(Accuracy):
    """Share of records whose next word is right: what stands up to the first space, marks included."""

    names = ("first_word",)

    def __init__(self) -> None:
        super().__init__(lambda output: output.text.split()[:1], lambda target: target.continuation.split()[:1])
