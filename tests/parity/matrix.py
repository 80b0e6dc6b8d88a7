"""The parity matrix, printed: `uv run python tests/parity/matrix.py [FAMILY ...]`.

Every family and head beside its home library: relative error in fp32 and float64, tokens of greedy and beam search, round
trips. `test_parity.py` holds the same cells.
"""

from __future__ import annotations

import importlib
import logging
import sys
import tempfile
import warnings
from pathlib import Path

import torch

from anyformer.testing.parity import Cell, check

MODULES = (
    "cells_nlp",
    "cells_decoders",
    "cells_seq2seq",
    "cells_vision",
    "cells_detection",
    "cells_bio",
    "cells_finance",
)


def cells() -> list[Cell]:
    """Every cell."""
    return [cell for name in MODULES if (Path(__file__).parent / f"{name}.py").exists() for cell in _of(name)]


def _of(name: str) -> list[Cell]:
    return list(importlib.import_module(name).CELLS)


def main(families: list[str]) -> int:
    """Print a row for each cell; 1 if one fails."""
    failed = 0
    print(f"{'family':<24} {'head':<23} {'shapes':>6} {'fp32':>9} {'float64':>9}  tokens, round trips")  # noqa: T201
    for cell in cells():
        if families and cell.family not in families:
            continue
        try:
            found = []
            for shape in cell.shapes:
                with tempfile.TemporaryDirectory() as folder:
                    found.append(check(cell, shape, Path(folder)))
            worst = [max(one.error[dtype] for one in found) for dtype in (torch.float32, torch.float64)]
            words = ", ".join(
                word for word in (found[0].tokens, "round trips exact" if found[0].round_trip else "") if word
            )
            row = f"{len(found):>6} {worst[0]:>9.1e} {worst[1]:>9.1e}  {words}"
        except (AssertionError, ValueError) as error:
            failed += 1
            row = f"FAILED: {error}"
        print(f"{cell.family:<24} {cell.head:<23} {row}", flush=True)  # noqa: T201
    return 1 if failed else 0


if __name__ == "__main__":
    import transformers

    transformers.utils.logging.disable_progress_bar()
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    sys.exit(main(sys.argv[1:]))
