"""A question beside every part of a context: windows, what is true in each, and the best span of all of them.

* Tokens are counted in three ways: in the whole context (`begin`), in a window's piece of it, and in the sequence that the
  model reads (`at` is where the piece begins there).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from anyformer.hints import quoted
from anyformer.task import Array, Sample

_HERE = -1
"""No id of any tokenizer: it is put where the context goes, to see where that is."""


def windows(tokenizer: Any, question: str, context: str, length: int, stride: int) -> list[Sample]:
    """Sequences of at most `length` tokens, the question beside a piece of the context each; together they have all of it.

    Parts: `source` and `source_segments`, int64 [L]. Notes: `begin`, the first token of the piece in the context; `at`,
    where it stands in `source`; `spans`, the characters [from, to) of the piece's tokens, int64 [N, 2].
    Pieces begin `stride` tokens apart, or half a piece if that is less.
    Raises `ValueError` for a question of no token, or of more than half of `length`.
    """
    asked = tokenizer.encode(question)["ids"]
    special = tokenizer.num_special(pair=True)
    most = length // 2 - special
    if not 0 < len(asked) <= most:
        what = f"has {len(asked)} tokens" if len(asked) else "has no word or mark that the tokenizer reads"
        limit = f"; at most {most} fit half of context={length}: ask in fewer words, or train with a longer context"
        raise ValueError(f"the question {quoted(question)} {what}{limit if len(asked) else ''}")
    ids, spans = tokenizer.encode_spans(context)
    room = length - special - len(asked)
    step = min(stride, room // 2)
    at = int(np.flatnonzero(tokenizer.pair(asked, np.array([_HERE]))[0] == _HERE)[0])
    samples = []
    for begin in range(0, max(1, len(ids) - room + step), step):
        source, segments = tokenizer.pair(asked, ids[begin : begin + room])
        notes = {"begin": begin, "at": at, "spans": spans[begin : begin + room]}
        samples.append(Sample({"source": source, "source_segments": segments}, notes=notes))
    return samples


def places(samples: Sequence[Sample], start: int, end: int) -> list[tuple[int, int]]:
    """First and last token in `source` of the characters [start, end) of the context, for each window; (0, 0) where it
    does not hold all of them.

    Raises `ValueError` if no token has any of these characters.
    """
    found = [np.flatnonzero((s.notes["spans"][:, 0] < end) & (s.notes["spans"][:, 1] > start)) for s in samples]
    tokens = np.concatenate([sample.notes["begin"] + inside for sample, inside in zip(samples, found, strict=True)])
    if not len(tokens):
        raise ValueError(f"the answer at character {start} of the context holds nothing that the tokenizer reads")
    size = tokens.max() - tokens.min() + 1
    return [
        (sample.notes["at"] + int(inside[0]), sample.notes["at"] + int(inside[-1])) if _holds(inside, size) else (0, 0)
        for sample, inside in zip(samples, found, strict=True)
    ]


def _holds(inside: Array, size: int) -> bool:
    """Whether tokens of a window are all `size` tokens of an answer."""
    return len(inside) > 0 and inside[-1] - inside[0] + 1 == size


def best_spans(
    context: str, samples: Sequence[Sample], scores: Sequence[tuple[Array, Array]], longest: int, top: int
) -> tuple[list[tuple[int, int, float]], float]:
    """The `top` best spans as characters [from, to) with log-probabilities, and the log-probability of no answer.

    `scores` are those of a window's tokens as start and as end, [L] each. A span has at most `longest` tokens of one window,
    and begins and ends with one that is no white space. It scores the sum of its ends, in the window where that is
    greatest; no answer the sum of the first token's, in the window where that is least. Equals: the shorter, then the first.
    """
    spans = np.zeros((max(sample.notes["begin"] + len(sample.notes["spans"]) for sample in samples), 2), dtype=np.int64)
    longest = min(longest, len(spans))
    table = np.full((longest, len(spans)), -np.inf)  # by length less one, and first token
    for sample, (starts, ends) in zip(samples, scores, strict=True):
        begin, at, size = sample.notes["begin"], sample.notes["at"], len(sample.notes["spans"])
        spans[begin : begin + size] = sample.notes["spans"]
        starts, ends = (each[at : at + size].astype(np.float64) for each in (starts, ends))
        for more in range(min(longest, size)):
            known = table[more, begin : begin + size - more]
            np.maximum(known, starts[: size - more] + ends[more:], out=known)
    _forbid(table, context, spans)
    null = min(float(starts[0]) + float(ends[0]) for starts, ends in scores)
    total = _log_sum(np.append(table.ravel(), null))
    flat = table.ravel()
    count = min(top, int(np.isfinite(flat).sum()))
    chosen = np.sort(np.argpartition(-flat, count - 1)[:count]) if count else np.array([], dtype=np.int64)
    found = []
    for place in chosen[np.argsort(-flat[chosen], kind="stable")].tolist():
        more, first = divmod(place, len(spans))
        start, end = _trimmed(context, int(spans[first, 0]), int(spans[first + more, 1]))
        found.append((start, end, float(flat[place] - total)))
    return found, null - total


def _forbid(table: Array, context: str, spans: Array) -> None:
    """Rule out, in place, spans that begin or end with white space, or within a character of several tokens."""
    ink = np.array([bool(context[start:end].strip()) for start, end in spans.tolist()], dtype=bool)
    may_start = ink & (np.diff(spans[:, 0], prepend=-1) != 0)
    may_end = ink & (np.diff(spans[:, 1], append=-1) != 0)
    for more, row in enumerate(table):
        row[~may_start] = -np.inf
        row[: len(row) - more][~may_end[more:]] = -np.inf


def _log_sum(values: Array) -> float:
    """Logarithm of the sum of exponentials; the greatest value is finite."""
    greatest = values.max()
    return float(greatest + np.log(np.exp(values - greatest).sum()))


def _trimmed(context: str, start: int, end: int) -> tuple[int, int]:
    """A span without the white space at its ends, which some tokenizers count to a word."""
    text = context[start:end]
    return start + len(text) - len(text.lstrip()), start + len(text.rstrip())
