"""Models without memory: shapes and no numbers, and nothing imported for it."""

from __future__ import annotations

import subprocess
import sys

import torch
from torch import nn

from anyformer.nn import build, config
from anyformer.nn.weightless import weightless


def test_a_trunk_without_memory_has_its_shapes_and_imports_no_compiler() -> None:
    code = """
import sys
from anyformer.nn import build, config
from anyformer.nn.weightless import weightless
with weightless():
    trunk = build.trunk(config.Trunk(decoder=config.Stack(width=18432, depth=118, attention=config.Attention(heads=48))))
print(sum(p.numel() for p in trunk.parameters()) > 4e11, {p.device.type for p in trunk.parameters()})
print("torch._dynamo" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.split() == ["True", "{'meta'}", "False"]


def test_only_tensors_without_memory_are_left_undrawn() -> None:
    with weightless():
        real = torch.zeros(100, device="cpu")
        nn.init.normal_(real)
        assert real.std() > 0.5
        assert nn.init.uniform_(torch.empty(3)).is_meta
    trunk = config.Trunk(encoder=config.Stack(width=8, depth=1, attention=config.Attention(heads=2)))
    assert not any(parameter.is_meta for parameter in build.trunk(trunk).parameters())
