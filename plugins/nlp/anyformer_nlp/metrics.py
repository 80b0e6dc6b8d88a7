"""Metrics of texts: `Bleu` and `Chrf`.

* Both equal sacrebleu's corpus scores (Papineni et al. 2002; Popović 2015; Post 2018). They follow from sums over the
  records, so the score of records drawn again is as exact as that of the corpus.
* How many n-grams a text has follows from its length, so a row has six numbers for BLEU and eight for chrF.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from anyformer.metrics.base import Weighted
from anyformer.task import Array

WORD_ORDERS = 4
"""BLEU counts n-grams of 1 to 4 words."""
CHARACTER_ORDERS = 6
"""chrF counts n-grams of 1 to 6 characters."""


class Bleu(Weighted):
    """BLEU in percent, with sacrebleu's `13a` words and exponential smoothing."""

    names = ("bleu",)
    dtype = "float32"

    def __init__(self) -> None:
        from sacrebleu.metrics.bleu import BLEU

        self.library = BLEU(effective_order=True)

    def row(self, output: Any, target: Any) -> Sequence[float]:
        """Words of the output, words of the truth, and n-grams of 1 to 4 words that both have."""
        found = self.library.sentence_score(output.text, [target.translation])
        return (found.sys_len, found.ref_len, *found.counts)

    def weighted(self, rows: Array, counts: Array) -> dict[str, Array]:
        """Scores [R] from rows [N, 6] and counts [R, N]."""
        lengths, both = counts @ rows[:, :2].astype(np.float64), counts @ rows[:, 2:].astype(np.float64)
        total = counts @ num_ngrams(rows[:, 0], WORD_ORDERS)
        scores = [
            self.library.compute_bleu(list(right), list(of), int(said), int(true), smooth_method="exp").score
            for right, of, (said, true) in zip(both, total, lengths, strict=True)
        ]
        return {"bleu": np.array(scores, dtype=np.float64)}


class Chrf(Weighted):
    """chrF in percent: F2 of n-grams of 1 to 6 characters, spaces left out."""

    names = ("chrf",)
    dtype = "float32"

    def row(self, output: Any, target: Any) -> Sequence[float]:
        """Characters of the output, characters of the truth, and n-grams of 1 to 6 characters that both have."""
        said, true = "".join(output.text.split()), "".join(target.translation.split())
        both = ((_ngrams(said, order) & _ngrams(true, order)).total() for order in range(1, CHARACTER_ORDERS + 1))
        return (len(said), len(true), *both)

    def weighted(self, rows: Array, counts: Array) -> dict[str, Array]:
        """Scores [R] from rows [N, 8] and counts [R, N]. Orders that only one side has count for nothing."""
        true = num_ngrams(rows[:, 1], CHARACTER_ORDERS)
        said = np.where(true > 0, num_ngrams(rows[:, 0], CHARACTER_ORDERS), 0)
        true, said, both = counts @ true, counts @ said, counts @ rows[:, 2:].astype(np.float64)
        used = (said > 0) & (true > 0)
        precision, recall = (
            np.divide(both, of, out=np.zeros_like(both), where=used).sum(axis=1) for of in (said, true)
        )
        below = (4 * precision + recall) * np.maximum(used.sum(axis=1), 1)
        above = 100 * 5 * precision * recall
        return {"chrf": np.divide(above, below, out=np.zeros_like(below), where=below > 0)}


def num_ngrams(lengths: Array, orders: int) -> Array:
    """How many n-grams of each order sequences of these lengths [N] have, float64 [N, orders]."""
    return np.maximum(lengths[:, None].astype(np.float64) - np.arange(orders), 0)


def _ngrams(text: str, order: int) -> Counter[str]:
    return Counter(text[start : start + order] for start in range(len(text) - order + 1))
