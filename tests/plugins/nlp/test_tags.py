from __future__ import annotations

import random
from types import SimpleNamespace

import numpy as np
import pytest

from anyformer_nlp.tags import EntityF1, entities_of, has_entities, words_of


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        ("  \n", []),
        ("Don't go,  Åsa!", ["Don", "'", "t", "go", ",", "Åsa", "!"]),
        ("a 小籠包b", ["a", "小", "籠", "包", "b"]),
        ("हिन्दी ok", ["हिन्दी", "ok"]),
        ("ひらがな", ["ひらがな"]),
    ],
)
def test_words_are_split_at_spaces_marks_and_ideographs(text: str, words: list[str]) -> None:
    assert [text[start:end] for start, end in words_of(text)] == words


@pytest.mark.parametrize(
    ("tags", "entities"),
    [
        ("O B-a I-a O", [("a", 1, 3)]),
        ("B-a B-a I-b", [("a", 0, 1), ("a", 1, 2), ("b", 2, 3)]),
        ("O I-a I-a", [("a", 1, 3)]),
        ("S-a I-a E-a I-a", [("a", 0, 1), ("a", 1, 3), ("a", 3, 4)]),
        ("B-a-b I-a-b", [("a-b", 0, 2)]),
        ("O O", []),
    ],
)
def test_entities_by_hand(tags: str, entities: list[tuple[str, int, int]]) -> None:
    assert entities_of(tags.split()) == entities


def drawn(rng: random.Random, prefixes: str) -> list[str]:
    """Tags in no order that any scheme allows."""
    kinds = [f"{prefix}-{label}" for prefix in prefixes for label in ("x", "y-z")] + ["O", "O"]
    return [rng.choice(kinds) for _ in range(rng.randrange(1, 12))]


@pytest.mark.parametrize("prefixes", ["BI", "BIES", "I"])
def test_entities_are_those_of_seqeval(prefixes: str) -> None:
    labeling = pytest.importorskip("seqeval.metrics.sequence_labeling", reason="seqeval is the oracle of this test")
    rng = random.Random(0)
    for _ in range(500):
        tags = drawn(rng, prefixes)
        assert entities_of(tags) == [(label, first, last + 1) for label, first, last in labeling.get_entities(tags)]


def test_the_scores_are_those_of_seqeval() -> None:
    seqeval = pytest.importorskip("seqeval.metrics", reason="seqeval is the oracle of this test")
    rng, metric = random.Random(1), EntityF1()
    true = [drawn(rng, "BIES") for _ in range(60)]
    answered = [[tag if rng.random() < 0.8 else "O" for tag in tags] for tags in true]
    rows = [metric.row(SimpleNamespace(tags=a), SimpleNamespace(tags=t)) for a, t in zip(answered, true, strict=True)]
    found = metric.scores(np.array(rows, dtype=metric.dtype))
    assert 0.2 < found["f1"] < 0.95
    for name, function in (("f1", "f1_score"), ("precision", "precision_score"), ("recall", "recall_score")):
        assert found[name] == pytest.approx(getattr(seqeval, function)(true, answered), abs=1e-12)


def test_nothing_found_scores_zero_and_nothing_warns() -> None:
    rows = [EntityF1().row(SimpleNamespace(tags=["O"]), SimpleNamespace(tags=["B-x"]))]
    assert EntityF1().scores(np.array(rows)) == {"f1": 0, "precision": 0, "recall": 0}


def test_an_entity_counts_only_with_its_label_and_both_ends() -> None:
    true = SimpleNamespace(tags=["B-x", "I-x", "O", "B-y"])
    answered = SimpleNamespace(tags=["B-x", "O", "O", "B-x"])
    assert EntityF1().row(answered, true) == (0, 2, 2)


def test_unequal_numbers_of_tags_are_refused() -> None:
    with pytest.raises(ValueError, match="2 tags answered for 1; there must be one for each word"):
        EntityF1().row(SimpleNamespace(tags=["O", "O"]), SimpleNamespace(tags=["O"]))


@pytest.mark.parametrize(
    ("labels", "answer"),
    [
        (["O", "B-x"], True),
        (["B-x", "I-x"], True),
        (["NOUN", "VERB"], False),
        (["O"], False),
        (["LABEL_0", "O"], False),
    ],
)
def test_which_tags_name_entities(labels: list[str], answer: bool) -> None:
    assert has_entities(labels) is answer
