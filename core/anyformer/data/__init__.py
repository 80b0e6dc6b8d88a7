"""Data: from what a user names to raw rows by random access, and from samples to micro-packs.

`open_data` is the way in. `fingerprint` says what a run was trained on; `split` and `overlap` keep training and held-out
rows apart. Nothing named here imports torch.
"""

from __future__ import annotations

from anyformer.data.hashing import fingerprint, overlap
from anyformer.data.sources import open_data, parse_columns, split
from anyformer.data.views import check_column

__all__ = ["check_column", "fingerprint", "open_data", "overlap", "parse_columns", "split"]
