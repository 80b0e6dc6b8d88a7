"""Layer-wise decay: how high above the data each weight stands (Howard and Ruder 2018, https://arxiv.org/abs/1801.06146).

* The embedding is lowest, then the blocks in order, a decoder's above its encoder's; the head is highest.
* What a stack does once for all its blocks (the last norm, a table of relative positions) goes with what follows the stack,
  as in BEiT (Bao et al. 2021, https://arxiv.org/abs/2106.08254): the decoder, or the head.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_STACK = re.compile(r"(?:^|\.)(encoder|decoder)\.(?:blocks\.(\d+)\.)?")


def heights(names: Iterable[str]) -> dict[str, int]:
    """The height of each weight by its name in a model, from 0."""
    found = {name: None if name.startswith("components.") else _STACK.search(name) for name in names}
    depth = {"encoder": 0, "decoder": 0}
    for match in found.values():
        if match is not None and match[2] is not None:
            depth[match[1]] = max(depth[match[1]], int(match[2]) + 1)
    return {name: _height(name, match, depth["encoder"], depth["decoder"]) for name, match in found.items()}


def _height(name: str, match: re.Match[str] | None, num_encoder: int, num_decoder: int) -> int:
    top = num_encoder + num_decoder + 1
    if match is None:
        return 0 if ".embedding." in name else top
    is_encoder, block = match[1] == "encoder", match[2]
    if block is not None:
        return int(block) + 1 + (0 if is_encoder else num_encoder)
    return num_encoder + 1 if is_encoder and num_decoder else top
