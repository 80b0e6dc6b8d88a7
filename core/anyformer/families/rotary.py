"""Rotary positions as configurations say them, of decoders.

* They are read from `rope_parameters`, as transformers 5 writes them, and from older `rope_theta` and `rope_scaling`.
* They are written the older way, which every version reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from anyformer.families.fields import Computed, Ours, Theirs

BANDS = {"factor": "factor", "low_freq_factor": "low", "high_freq_factor": "high"}
"""Their names of Llama 3's scaling to ours, beside the original length."""
KINDS = ("default", "linear", "llama3")
BASE = 10000.0


def _read(theirs: Theirs) -> Mapping[str, Any]:
    """Base and scaling; of the places where they may stand, the first is what the home library takes."""
    said = theirs.get("rope_scaling") or theirs.get("rope_parameters") or {}
    kind = said.get("rope_type", said.get("type", "default"))
    if kind not in KINDS:
        raise ValueError(f"'rope_type' is {kind!r}; supported: {', '.join(map(repr, KINDS))}")
    part = said.get("partial_rotary_factor", theirs.get("partial_rotary_factor"))
    if part not in (None, 1):
        raise ValueError(f"'partial_rotary_factor' is {part!r}; supported: 1.0")
    asked = {"linear": ("factor",), "llama3": tuple(BANDS)}.get(kind, ())
    if lacking := [key for key in asked if key not in said]:
        raise ValueError(f"{lacking[0]!r} is missing beside 'rope_type' {kind!r}")
    scaling: dict[str, Any] | None = None
    if kind == "linear":
        scaling = {"name": "linear", "factor": said["factor"]}
    elif kind == "llama3":
        length = said.get("original_max_position_embeddings", theirs["max_position_embeddings"])
        length = theirs.get("original_max_position_embeddings", length)
        scaling = {"name": "bands", "original_length": length, **{own: said[key] for key, own in BANDS.items()}}
    base = said.get("rope_theta", theirs.get("rope_theta", BASE))
    return {"trunk.decoder.position.base": base, "trunk.decoder.position.scaling": scaling}


def _write(ours: Ours) -> Mapping[str, Any]:
    position = ours["trunk"]["decoder"]["position"]
    scaling, said = position["scaling"], {"rope_theta": position["base"]}
    if scaling is None:
        return said
    if scaling["name"] == "linear":
        return said | {"rope_scaling": {"rope_type": "linear", "factor": scaling["factor"]}}
    bands = {key: scaling[own] for key, own in BANDS.items()}
    length = {"original_max_position_embeddings": scaling["original_length"]}
    return said | {"rope_scaling": {"rope_type": "llama3", **bands, **length}}


ROTARY = Computed(_read, _write)
