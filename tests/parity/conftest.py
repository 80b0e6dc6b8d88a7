"""Cells are modules beside this file, shared by the tests and by `matrix.py`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
