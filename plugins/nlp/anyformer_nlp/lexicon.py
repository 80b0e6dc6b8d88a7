"""A dictionary learned from pairs of texts: the baseline that a translation model has to beat.

* Which word a word becomes is chosen by the Dice coefficient (Dice 1945): how often both occur in a pair, over how
  often each occurs. It is the simplest measure of association, and needs one pass.
* It learns from the first `MAX_PAIRS` pairs; a dictionary of frequent words gains little from more.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from itertools import islice, product

from anyformer_nlp.words import WORD

MAX_PAIRS = 20_000
MAX_WORDS = 100
"""Of each side of a pair: the count of pairs of words grows with the product."""
MIN_COUNT = 2
"""A word seen in fewer pairs is not learned; it is copied."""


def learn(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """For each word of the first texts, lowered, the word of the second ones that goes with it best."""
    first: Counter[str] = Counter()
    second: Counter[str] = Counter()
    both: Counter[tuple[str, str]] = Counter()
    for text, translation in islice(pairs, MAX_PAIRS):
        here = set(WORD.findall(text.lower())[:MAX_WORDS])
        there = set(WORD.findall(translation)[:MAX_WORDS])
        first.update(here)
        second.update(there)
        both.update(product(here, there))
    best: dict[str, tuple[float, str]] = {}
    for (word, other), count in both.items():
        if first[word] >= MIN_COUNT:
            dice = 2 * count / (first[word] + second[other])
            best[word] = max(best.get(word, (0.0, "")), (dice, other))
    return {word: best[word][1] for word in sorted(best)}


def translate(text: str, lexicon: dict[str, str]) -> str:
    """Word by word, in the order of the text; a word that was not learned is copied."""
    words = [lexicon.get(word.lower(), word) for word in WORD.findall(text)]
    return re.sub(r"\s+([.,;:!?)])", r"\1", " ".join(words))
