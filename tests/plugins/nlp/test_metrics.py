from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import sacrebleu
from hypothesis import given, settings
from hypothesis import strategies as st

from anyformer_nlp.metrics import Bleu, Chrf

PAIRS = [
    ("A dog runs.", "A dog is running."),
    ("the the the the the", "the cat is on the mat"),
    ("It costs $3.50, he said (twice).", "It cost $3.50, he said twice."),
    ("", "Nothing was said."),
    ("Nothing was asked.", ""),
    ("Zwei Hunde laufen im Schnee.  ", " Zwei  Hunde laufen im Schnee."),
    ("ab", "abc"),
    ("小籠包 🍜", "小籠包"),
]
TEXTS = st.lists(st.sampled_from(["a", "b", "cat", "dog.", "3,5", "é", "\n", "  "]), max_size=9).map(" ".join)


def rows_of(metric: Any, pairs: list[tuple[str, str]]) -> np.ndarray:
    rows = [metric.row(SimpleNamespace(text=a), SimpleNamespace(translation=b)) for a, b in pairs]
    return np.array(rows, dtype=metric.dtype)


def reference(name: str, pairs: list[tuple[str, str]]) -> float:
    score = {"bleu": sacrebleu.corpus_bleu, "chrf": sacrebleu.corpus_chrf}[name]
    return score([a for a, _ in pairs], [[b for _, b in pairs]]).score


@pytest.mark.parametrize("metric", [Bleu(), Chrf()], ids=["bleu", "chrf"])
@given(pairs=st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=6))
@settings(max_examples=150, deadline=None)
def test_scores_equal_sacrebleu(metric: Any, pairs: list[tuple[str, str]]) -> None:
    (name,) = metric.names
    for chosen in (pairs, PAIRS, PAIRS[:1]):
        assert metric.scores(rows_of(metric, chosen))[name] == pytest.approx(
            reference(name, chosen), rel=1e-9, abs=1e-9
        )


@pytest.mark.parametrize("metric", [Bleu(), Chrf()], ids=["bleu", "chrf"])
def test_records_drawn_again_score_as_their_corpus(metric: Any) -> None:
    (name,) = metric.names
    counts = np.array([[1, 2, 0, 1, 0, 3, 0, 0], [0, 0, 0, 1, 0, 0, 0, 0], [0, 1, 1, 1, 1, 1, 1, 5]], dtype=np.float64)
    found = metric.weighted(rows_of(metric, PAIRS), counts)[name]
    expected = [
        reference(name, [pair for pair, count in zip(PAIRS, row, strict=True) for _ in range(int(count))])
        for row in counts
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


def test_all_rows_of_translation_fit_in_64_bytes() -> None:
    from anyformer_nlp.translation import Translation

    metrics = Translation(Translation.Config(), {}).metrics()
    output, target = SimpleNamespace(text="a"), SimpleNamespace(translation="b")
    size = sum(len(metric.row(output, target)) * np.dtype(metric.dtype).itemsize for metric in metrics)
    assert size <= 64
    assert [name for metric in metrics for name in metric.names] == ["bleu", "chrf", "exact_match"]
