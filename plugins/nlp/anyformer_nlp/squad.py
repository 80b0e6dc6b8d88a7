"""SQuAD: its files as rows of one question each, and its scores.

* A row of a SQuAD file, as the reader of `.json` gives it, is an article: paragraphs, each a context with its questions.
  Rows held out are therefore whole articles, and no context is in both parts.
* `Squad` equals the official script of version 2.0 (Rajpurkar et al. 2018, https://arxiv.org/abs/1806.03822). On version 1.1
  it equals that one too, unless an answer is nothing but articles and marks ("A", "the", "%"): such an answer is left
  aside where there is another.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from anyformer.data.views import RowSequence
from anyformer.hints import listed, quoted
from anyformer.metrics.base import OfSums, ratio
from anyformer.task import Array

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_NO_MARKS = str.maketrans("", "", string.punctuation)


def questions(raw: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """Rows of one question each: those of SQuAD articles, or of whole files of them (`{"data": [...]}`); others as they are.

    The first row says what all are. Raises `ValueError` for an article that is built otherwise.
    """
    if not len(raw):
        return raw
    if isinstance(raw[0], Mapping) and isinstance(raw[0].get("data"), list):
        raw = [article for file in raw for article in file["data"]]
    return Articles(raw) if len(raw) and isinstance(raw[0], Mapping) and "paragraphs" in raw[0] else raw


class Articles(RowSequence):
    """The questions of articles by random access, each with its context; `id` and whatever else it has are kept."""

    def __init__(self, articles: Sequence[Mapping[str, Any]]) -> None:
        self.articles = articles
        places = [
            (place, paragraph, question)
            for place, article in enumerate(articles)
            for paragraph, of in enumerate(_objects(article, "paragraphs", f"article {place + 1}"))
            for question in range(len(_objects(of, "qas", f"article {place + 1}, paragraph {paragraph + 1}")))
        ]
        self.places: Array = np.array(places, dtype=np.int32).reshape(-1, 3)
        """Article, paragraph and question of each row, int32 [N, 3]."""

    def __len__(self) -> int:
        return len(self.places)

    def row(self, index: int) -> Mapping[str, Any]:
        """One question with the context of its paragraph."""
        place, paragraph, question = self.places[index].tolist()
        of = self.articles[place]["paragraphs"][paragraph]
        context = {"context": of["context"]} if "context" in of else {}
        return {**of["qas"][question], **context}


def _objects(parent: Any, name: str, where: str) -> list[Any]:
    """The list of objects that an article or a paragraph has under a name."""
    if not isinstance(parent, Mapping):
        raise ValueError(f"{where}: an object {{...}} is needed, as in a SQuAD file; got {quoted(parent)}")
    found = parent.get(name)
    if not isinstance(found, list) or not all(isinstance(item, Mapping) for item in found):
        has = f"it has {listed(list(parent))}" if name not in parent else f"got {quoted(found)}"
        raise ValueError(f"{where}: {name!r} must be a list of objects, as in a SQuAD file; {has}")
    return found


class Squad(OfSums):
    """F1 over words and exact matches, in percent, of the best of a question's answers; then of two kinds of questions.

    `has_answer_*` are of the questions that have an answer. Of those that have none, F1 and exact match are the same:
    `no_answer_exact_match`. They are NaN where there is no such question.
    """

    names = ("f1", "exact_match", "has_answer_f1", "has_answer_exact_match", "no_answer_exact_match")

    def row(self, output: Any, target: Any) -> Sequence[float]:
        """F1, match and 1 of a question that has an answer, match and 1 of one that has none; else zeros."""
        texts = [answer.text for answer in target.answers]
        # No answer is right only where there is none, or where all that is left of an answer is nothing.
        accepted = [text for text in texts if normalised(text)] or [""]
        match = float(max(normalised(output.answer) == normalised(text) for text in accepted))
        if not texts:
            return (0.0, 0.0, 0.0, match, 1.0)
        return (max(word_f1(output.answer, text) for text in accepted), match, 1.0, 0.0, 0.0)

    def of_sums(self, sums: Array) -> dict[str, Array]:
        """Percentages of sums [R, 5]."""
        f1, match, answerable, silent, unanswerable = sums.T
        scores = (
            ratio(f1 + silent, answerable + unanswerable),
            ratio(match + silent, answerable + unanswerable),
            ratio(f1, answerable),
            ratio(match, answerable),
            ratio(silent, unanswerable),
        )
        return {name: 100 * score for name, score in zip(self.names, scores, strict=True)}


def normalised(text: str) -> str:
    """A text in small letters, without ASCII marks, without `a`, `an` and `the`, with single spaces."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_NO_MARKS)).split())


def word_f1(text: str, truth: str) -> float:
    """F1 of the words of two texts, 0 to 1, as often as they occur; a text without words equals only another one."""
    found, true = normalised(text).split(), normalised(truth).split()
    if not found or not true:
        return float(found == true)
    both = (Counter(found) & Counter(true)).total()
    # As the official script computes it, so that the last bit is the same too.
    precision, recall = both / len(found), both / len(true)
    return 2 * precision * recall / (precision + recall) if both else 0.0
