"""Which residue stands where, as the rival of a protein's number: a ridge regression on substitutions.

* The consensus is the most frequent residue of each position of the training part. A feature is a position and a residue
  that is not the consensus there, so a variant of one protein has as many features as it has mutations. FLIP (Dallago et
  al. 2021, https://doi.org/10.1101/2021.11.09.467890) reports this regression beside its models, and it is hard to beat.
* Residues are counted from the start. Of longer proteins than the training part has, or than `MAX_POSITIONS`, what comes
  after is not looked at; for proteins that are not aligned the features mean little.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from anyformer.baselines import ridge
from anyformer.task import Array
from anyformer_bio.tokenizers import PROTEIN

MAX_POSITIONS = 2000


def fit(sequences: Sequence[str], values: Sequence[float]) -> dict[str, Any]:
    """`consensus` int64 [L], `weights` float32 [L, letters] and the number `intercept`."""
    size = len(PROTEIN.letters)
    chains = [PROTEIN.ids(sequence)[:MAX_POSITIONS] for sequence in sequences]
    counts = np.zeros((max(map(len, chains)), size), dtype=np.int64)
    for chain in chains:
        counts[np.arange(len(chain)), chain] += 1
    consensus = counts.argmax(axis=1)
    features = [_substitutions(chain, consensus) for chain in chains]
    intercept, weights = ridge(features, np.array(values, dtype=np.float64), counts.size)
    return {"consensus": consensus, "weights": weights.reshape(-1, size).astype(np.float32), "intercept": intercept}


def predict(sequence: str, state: Mapping[str, Any]) -> float:
    """The number of a protein, from what `fit` gave."""
    weights = np.asarray(state["weights"])
    found = _substitutions(PROTEIN.ids(sequence), np.asarray(state["consensus"]))
    return float(state["intercept"] + weights.ravel()[found].sum(dtype=np.float64))


def _substitutions(chain: Array, consensus: Array) -> Array:
    """The features of a chain of ids: position times letters plus letter, int64 [N]."""
    chain = chain[: len(consensus)]
    places = np.flatnonzero(chain != consensus[: len(chain)])
    return np.asarray(places * len(PROTEIN.letters) + chain[places], dtype=np.int64)
