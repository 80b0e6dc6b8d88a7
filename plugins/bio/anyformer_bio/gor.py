"""The simple rival of secondary structure: what the residues within eight places of a residue say about its label.

* Each neighbour votes by itself, `log P(neighbour at this offset | label)`, and the votes add up: the directional
  information of GOR I, read as naive Bayes. There is nothing to tune, and it is fitted by counting once.
* Beyond an end of the chain stands a letter of its own, so that the freedom of chain ends is counted too.

Paper: Garnier, Osguthorpe and Robson 1978, "Analysis of the accuracy and implications of simple methods for predicting the
secondary structure of globular proteins".
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from anyformer.task import Array
from anyformer_bio.labels import letters_of

REACH = 8
"""Neighbours on each side."""
SPAN = 2 * REACH + 1
"""Residues of a window."""


def neighbours(ids: Array, num_letters: int) -> Array:
    """The window of each residue: ids int64 [L] to [L, SPAN], with `num_letters` for places outside of the chain."""
    padded = np.pad(ids, REACH, constant_values=num_letters)
    return np.lib.stride_tricks.sliding_window_view(padded, SPAN)


def count(chains: Iterable[tuple[Array, str, Array]], num_letters: int) -> dict[str, Array]:
    """How often each letter stands at each offset of a label: label to int64 [SPAN, num_letters + 1].

    A chain is its residue ids [L], its labels as text [L], and which residues are resolved, bool [L]; only resolved residues
    are counted, with all their neighbours.
    """
    row = num_letters + 1
    offsets = np.arange(SPAN) * row
    counts: dict[str, Array] = {}
    for ids, text, resolved in chains:
        cells = neighbours(ids, num_letters) + offsets
        letters = letters_of(text)
        for code in np.unique(letters[resolved]):
            found = np.bincount(cells[resolved & (letters == code)].ravel(), minlength=SPAN * row).reshape(SPAN, row)
            label = chr(code)
            counts[label] = counts[label] + found if label in counts else found
    return counts


def log_odds(ids: Array, counts: Array) -> Array:
    """The score of each label, `log P(label) + sum of votes` up to a constant of the residue: float64 [L, C].

    `counts` are int64 [C, SPAN, num_letters + 1]; one is added to each, so that an unseen neighbour rules nothing out.
    """
    votes_CSA = np.log(counts + 1.0) - np.log((counts + 1.0).sum(axis=-1, keepdims=True))
    totals = counts[:, REACH].sum(axis=-1)
    windows = neighbours(ids, counts.shape[-1] - 1)
    scores = np.tile(np.log(totals / totals.sum()), (len(ids), 1))
    for offset in range(SPAN):
        scores += votes_CSA[:, offset, windows[:, offset]].T
    return scores
