from __future__ import annotations

import gzip
import json
import random
import re
import string
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from anyformer.data import open_data
from anyformer_nlp.overlap import overlap_span
from anyformer_nlp.squad import Squad, questions

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data" / "nlp" / "squad2_en" / "train.json.gz"
ARTICLES: list[Any] = [
    {
        "title": "Rivers",
        "paragraphs": [
            {"context": "The Elbe is long.", "qas": [
                {"id": "a", "question": "What is long?", "answers": [{"text": "Elbe", "answer_start": 4}]},
                {"id": "b", "question": "Who?", "answers": [], "is_impossible": True},
            ]},
            {"context": "Nothing is asked.", "qas": []},
        ],
    },
    {"title": "Bread", "paragraphs": [{"context": "Ana bakes.", "qas": [
        {"id": "c", "question": "Who bakes?", "answers": [{"text": "Ana", "answer_start": 0}]},
    ]}]},
]  # fmt: skip


def official(predictions: dict[str, str], golds: dict[str, list[str]]) -> dict[str, float]:
    """The evaluation of SQuAD 2.0, written once more from its definition."""

    def words(text: str) -> list[str]:
        text = "".join(letter for letter in text.lower() if letter not in set(string.punctuation))
        return re.sub(r"\b(a|an|the)\b", " ", text).split()

    def f1(gold: str, found: str) -> float:
        left, right = words(gold), words(found)
        if not left or not right:
            return int(left == right)
        same = sum((Counter(left) & Counter(right)).values())
        if not same:
            return 0
        precision, recall = same / len(right), same / len(left)
        return 2 * precision * recall / (precision + recall)

    exact, partial = {}, {}
    for id, texts in golds.items():
        right = [text for text in texts if words(text)] or [""]
        exact[id] = max(int(words(gold) == words(predictions[id])) for gold in right)
        partial[id] = max(f1(gold, predictions[id]) for gold in right)
    parts = {"": list(golds), "has_answer_": [id for id in golds if golds[id]]}
    found = {}
    for name, ids in parts.items():
        found[f"{name}f1"] = 100 * sum(partial[id] for id in ids) / len(ids)
        found[f"{name}exact_match"] = 100 * sum(exact[id] for id in ids) / len(ids)
    silent = [id for id in golds if not golds[id]]
    assert [exact[id] for id in silent] == [partial[id] for id in silent]
    found["no_answer_exact_match"] = 100 * sum(exact[id] for id in silent) / len(silent)
    return found


def scored(predictions: list[str], golds: list[list[str]]) -> dict[str, float]:
    metric = Squad()
    rows = [
        metric.row(
            SimpleNamespace(answer=text), SimpleNamespace(answers=[SimpleNamespace(text=each) for each in texts])
        )
        for text, texts in zip(predictions, golds, strict=True)
    ]
    return metric.scores(np.array(rows, dtype=metric.dtype))


def test_scores_equal_the_official_ones_on_texts_of_all_kinds() -> None:
    draw = random.Random(0)
    words = [
        "the",
        "A",
        "an",
        "",
        " ",
        "cat",
        "cat's",
        "Cat.",
        "%",
        "and",
        "a-cat",
        "theme",
        "10th",
        "\u2019s",
        "\u00c4",
    ]
    texts = [" ".join(draw.choices(words, k=draw.randint(0, 4))) for _ in range(3000)]
    golds = [[] if draw.random() < 0.3 else draw.choices(texts, k=draw.randint(1, 3)) for _ in texts]
    found = [draw.choice(gold) if gold and draw.random() < 0.4 else draw.choice(texts) for gold in golds]
    true = official(dict(enumerate(found)), dict(enumerate(golds)))  # type: ignore[arg-type]
    assert scored(found, golds) == pytest.approx(true, rel=1e-12)
    assert list(scored(found, golds)) == list(Squad.names)


def test_scores_by_hand() -> None:
    found = scored(["the Cat!", "cat sat", "", "dog"], [["cat"], ["cat", "a sat mat"], [], []])
    assert found == pytest.approx(
        {
            "f1": 100 * (1 + 2 / 3 + 1 + 0) / 4,
            "exact_match": 50.0,
            "has_answer_f1": 100 * (1 + 2 / 3) / 2,
            "has_answer_exact_match": 50.0,
            "no_answer_exact_match": 50.0,
        }
    )
    alone = scored(["x"], [["x"]])
    assert alone["f1"] == 100
    assert np.isnan(alone["no_answer_exact_match"])


@pytest.mark.parametrize("name", ["a.json", "a.json.gz"])
def test_a_file_is_its_questions(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    content = json.dumps({"version": "v2.0", "data": ARTICLES}).encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    rows = questions(open_data(str(path)))
    assert [row["id"] for row in rows] == ["a", "b", "c"]
    assert rows[-1] == {
        "id": "c", "question": "Who bakes?", "context": "Ana bakes.", "answers": [{"text": "Ana", "answer_start": 0}],
    }  # fmt: skip
    assert [row["id"] for row in rows[1:]] == ["b", "c"]
    assert [row["id"] for row in questions(open_data(f"{path}[1:2]"))] == ["c"]


def test_whole_files_and_flat_rows_are_taken_too() -> None:
    assert [row["id"] for row in questions([{"data": ARTICLES[:1]}, {"data": ARTICLES[1:]}])] == ["a", "b", "c"]
    flat = [{"question": "?", "context": "a", "answers": []}]
    assert questions(flat) is flat
    assert questions([]) == []


@pytest.mark.parametrize(
    ("article", "message"),
    [
        ({"title": "x"}, "article 2: 'paragraphs' must be a list of objects, as in a SQuAD file; it has 'title'"),
        ({"paragraphs": ["x"]}, r"article 2: 'paragraphs' must be a list of objects, as in a SQuAD file; got \['x'\]"),
        (
            {"paragraphs": [{"qas": []}, {"context": "x"}]},
            "article 2, paragraph 2: 'qas' must be a list of objects, as in a SQuAD file; it has 'context'",
        ),
        ("x", "article 2: an object {...} is needed, as in a SQuAD file; got 'x'"),
    ],
)
def test_an_article_built_otherwise_is_named(article: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        questions([ARTICLES[0], article])


@pytest.mark.parametrize(
    ("question", "context", "answer"),
    [
        ("Where does the Elbe rise?", "Ana bakes. The Elbe does rise in the Giant Mountains, in May.", "in May"),
        ("Who bakes?", "It rains. Ana bakes.", "Ana"),
        ("Who bakes bread?", "Bread, who bakes?", None),
        ("?", "...", None),
        ("\u5357\u6708\u662f\uff1f", "1200 \u5317 \u3002 2 \u5357\u6708\u662f \u4e1c\u3002", "\u4e1c"),
        ("Who bakes", "Who bakes. Ana", "Ana"),
    ],
)
def test_the_overlap_baseline_takes_the_last_new_words_of_the_most_alike_sentence(
    question: str, context: str, answer: str | None
) -> None:
    span = overlap_span(question, context)
    assert (None if span is None else context[slice(*span)]) == answer


def test_scores_of_real_questions_equal_the_official_ones() -> None:
    if not SHARED.is_file():
        pytest.skip(f"the data {SHARED.name} of SQuAD 2.0 is not here")
    rows = list(questions(open_data(SHARED)))
    assert len(rows) == 4502
    assert all(row["context"][a["answer_start"] :].startswith(a["text"]) for row in rows for a in row["answers"])
    draw = random.Random(0)
    golds = [[answer["text"] for answer in row["answers"]] for row in rows]
    found = [draw.choice(gold or [""]) + draw.choice(["", "", ".", " of the town"]) for gold in golds]
    true = official({row["id"]: text for row, text in zip(rows, found, strict=True)}, {
        row["id"]: gold for row, gold in zip(rows, golds, strict=True)
    })  # fmt: skip
    assert scored(found, golds) == pytest.approx(true, rel=1e-12)
