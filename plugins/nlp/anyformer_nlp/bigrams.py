"""Which word most often follows which: the baseline that a model that writes has to beat.

* A word is what stands between spaces, marks included, so that what is written looks like the text it was learned from.
* It reads the first `MAX_WORDS` words and keeps the `MAX_KEPT` most frequent; more would hardly change the next word.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

MAX_WORDS = 1_000_000
MAX_KEPT = 20_000
EDGE = ""
"""Stands before the first word of a text and after its last."""


def learn(texts: Iterable[str]) -> dict[str, str]:
    """For each word, and for `EDGE`, what follows it most often; equals in order of the alphabet."""
    following: defaultdict[str, Counter[str]] = defaultdict(Counter)
    num_words = 0
    for text in texts:
        before = EDGE
        for word in [*text.split(), EDGE]:
            following[before][word] += 1
            before = word
            num_words += 1
        if num_words >= MAX_WORDS:
            break
    often = sorted(following, key=lambda word: (-following[word].total(), word))[:MAX_KEPT]
    return {word: min(following[word].items(), key=lambda item: (-item[1], item[0]))[0] for word in often}


def write(text: str, table: dict[str, str], num_words: int) -> str:
    """At most `num_words` words that go on from a text, with the space before them where one is due.

    After a word that was not learned, it goes on as a text begins; with an empty table, it writes nothing.
    """
    written: list[str] = []
    word = (text.split() or [EDGE])[-1]
    while len(written) < num_words:
        word = table.get(word, table.get(EDGE, EDGE))
        if word == EDGE:
            break
        written.append(word)
    return joined(text, written)


def repeat(text: str, num_words: int) -> str:
    """The last `num_words` words of a text again, with the space before them where one is due."""
    return joined(text, text.split()[-num_words:])


def joined(text: str, words: list[str]) -> str:
    """What stands after a text when these words go on from it."""
    gap = " " if text and not text[-1].isspace() else ""
    return gap + " ".join(words) if words else ""
