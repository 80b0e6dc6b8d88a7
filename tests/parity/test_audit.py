"""Loading a checkpoint imports nothing, opens nothing outside its folder and connects to nothing, in every family."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("transformers")

SCRIPT = """
import json, pathlib, sys
sys.path.insert(0, sys.argv[1])
import matrix
import anyformer
from anyformer.testing import parity

root, cells, seen = pathlib.Path(sys.argv[2]), {}, []
for cell in matrix.cells():
    cells.setdefault(cell.family, cell)
for name, cell in cells.items():
    parity._save(cell, parity.new_home(cell, cell.shapes[0]), root / name)
    config = json.loads((root / name / "config.json").read_text())
    config |= {"auto_map": {"AutoModel": "evil.Model"}, "_name_or_path": "/etc/hostname", "custom_pipelines": {"x": "evil"}}
    (root / name / "config.json").write_text(json.dumps(config))
    (root / name / "evil.py").write_text("raise SystemExit('imported')")
    anyformer.load(root / name, task=cell.task)
EVENTS = ("socket.", "subprocess.", "os.system", "os.exec", "os.posix_spawn", "exec", "compile", "pickle.")

def watch(event, given):
    if event == "import" or event.startswith(EVENTS):
        seen.append([current, event, str(given)[:80]])
    elif event == "open" and not str(given[0]).startswith(str(root / current)):
        seen.append([current, event, str(given[0])])

current = next(iter(cells))
sys.addaudithook(watch)
for current, cell in cells.items():
    anyformer.load(root / current, task=cell.task)
print(json.dumps({"families": list(cells), "seen": list(seen)}))
"""


def test_loading_touches_nothing_but_the_folder(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(Path(__file__).parent), str(tmp_path)],
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert len(found["families"]) >= 20
    assert found["seen"] == []
