"""A run on packs of ever new lengths must not grow: freed memory goes back to the system."""

from __future__ import annotations

import subprocess
import sys

import pytest

GROWTH = """
import random, sys, torch
from anyformer.nn import Pack, Stream, config
from anyformer.nn.build import trunk
from anyformer.train.memory import trim

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

model = trunk(config.Trunk(encoder=dict(width=64, depth=4, attention=dict(heads=4))))
random.seed(0)
sizes = []
for step in range(120):
    pack = Pack.of([random.randint(50, 500) for _ in range(8)])
    model({"source": Stream(torch.randn(pack.num_tokens, 64), pack)})["source"].x_TD.square().mean().backward()
    model.zero_grad()
    if step % 10 == 9:
        if sys.argv[1] == "trim":
            trim()
        sizes.append(resident())
print(sizes[-1] - sizes[2])
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_stays_flat() -> None:
    run = subprocess.run([sys.executable, "-c", GROWTH, "trim"], capture_output=True, text=True, check=True)
    assert int(run.stdout) < 40e6
