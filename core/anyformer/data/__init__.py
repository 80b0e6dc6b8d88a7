"""Data: from what a user names to raw rows by random access, and from samples to micro-packs.

`open_data` is the way in. `fingerprint` says what a run was trained on; `split` and `overlap` keep training and held-out
rows apart. Nothing named here imports torch.
"""

from __future__ import annotations

from anyformer.data.blocks import at_hand, records_of
from anyformer.data.hashing import fingerprint, overlap
from anyformer.data.sources import open_data, parse_columns, split
from anyformer.data.streams import Stream
from anyformer.data.views import check_column

__all__ = [
    "Stream", "at_hand", "check_column", "fingerprint", "open_data", "overlap", "parse_columns", "records_of", "split",
]  # fmt: skip
