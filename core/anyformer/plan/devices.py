"""What a GPU can compute at most: the other side of "model FLOPs utilisation"."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

HALF = {
    "B200": 2250e12,
    "GH200": 989e12,
    "H200": 989e12,
    "H100 PCIE": 756e12,
    "H100 NVL": 835e12,
    "H100": 989e12,
    "L40S": 362e12,
    "A100": 312e12,
    "A30": 165e12,
    "A10": 125e12,
    "L4": 121e12,
    "V100": 125e12,
    "T4": 65e12,
}
"""Operations per second in bf16 or fp16 with dense matrices, from NVIDIA's data sheets, by words of the device's name. The
first that matches holds."""


def half_peak(name: str) -> float | None:
    """Peak of the GPU that calls itself `name`, in operations per second of bf16 or fp16; None where it is not known."""
    words = set(re.split(r"[^A-Z0-9]+", name.upper()))
    return next((peak for key, peak in HALF.items() if words.issuperset(key.split())), None)


def peak_of_run(training: Mapping[str, Any]) -> float | None:
    """Peak of the GPUs that a run with these settings (`training` of run.yaml) computes on, one for each of its processes.

    None on a CPU, in fp32, whose peak depends on how the GPU rounds, and on a GPU that is not in the table.
    """
    import torch

    from anyformer.train.parallel.world import started

    device, precision = training.get("device", "auto"), training.get("precision", "auto")
    if not torch.cuda.is_available() or not (device == "auto" or str(device).startswith("cuda")):
        return None
    half = precision in ("bf16", "fp16") or (precision == "auto" and torch.cuda.is_bf16_supported())
    peak = half_peak(torch.cuda.get_device_name("cuda" if device == "auto" else device)) if half else None
    return None if peak is None else peak * started()
