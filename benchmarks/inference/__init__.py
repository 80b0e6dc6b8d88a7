"""Answering, beside the library that each model comes from. Read `case`, then any page of cases.

* Both sides hold the same random weights: the home library builds a model of a published shape, and ours is read from the
  folder that it saves. Nothing is downloaded.
* Both sides start and end at the same place, which a case names: ids to vectors, ids to ids, pixels to scores. No tokenizer
  is in the time.
"""

from __future__ import annotations

OURS = "anyformer"
CASES: dict[str, tuple[str, dict[str, float]]] = {
    "bert-mixed": ("encoders", {"fp32": 5.35, "bf16": 9.2, "int8": 12.8}),
    "bert-equal": ("encoders", {"fp32": 1.39, "bf16": 2.46, "int8": 3.5}),
    "gpt2-1": ("decoding", {"fp32": 1.64, "bf16": 2.5, "fp16-weights": 3.4, "int8": 5.1}),
    "gpt2-8": ("decoding", {"fp32": 2.65, "bf16": 4.2, "int8": 6.5}),
    "marian-greedy": ("translation", {"fp32": 2.07, "bf16": 2.7, "int8": 3.4}),
    "marian-beam4": ("translation", {"fp32": 2.24, "bf16": 3.2, "int8": 3.5}),
    "vit-b": ("vision", {"fp32": 1.3, "bf16": 2.3, "int8": 2.7}),
    "vit-s": ("vision", {"fp32": 1.29, "bf16": 2.0, "int8": 2.1}),
    "esm2-35m": ("proteins", {"fp32": 3.0, "bf16": 4.1, "int8": 3.8}),
    "esm2-150m": ("proteins", {"fp32": 1.6, "bf16": 2.5, "int8": 2.9}),
    "detr": ("detection", {"fp32": 1.63, "bf16": 3.1}),
    "yolos": ("detection", {"fp32": 1.11}),
    "patchtst": ("series", {"fp32": 1.46}),
}
"""By case: its page, and by precision the ratio to the home library's default that is asked for."""
