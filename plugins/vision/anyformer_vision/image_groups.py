"""Images of different sizes in one pack, seen as batches of images of one size: nothing is padded.

Axis legend: B images of the pack, N images of a group, H height, W width, T tokens of the pack.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from anyformer.nn.pack import Parts


def by_size(parts: Parts, dtype: torch.dtype) -> Iterator[tuple[list[int], Tensor]]:
    """Groups of images of equal size: their places in the pack, and their pixels [N, H, W, 3].

    Part `pixels` [T, 3] has the pixels of each image row by row, part `size` [B, 2] the height and width of each.
    """
    groups: dict[tuple[int, int], list[int]] = {}
    for index, (height, width) in enumerate(parts["size"].values.tolist()):
        groups.setdefault((height, width), []).append(index)
    pixels = parts["pixels"]
    images = pixels.pack.split(pixels.values.to(dtype))
    for (height, width), places in groups.items():
        # A group is often the whole pack, and is then a view of it.
        rows = pixels.values.to(dtype) if len(places) == len(images) else torch.cat([images[place] for place in places])
        yield places, rows.view(len(places), height, width, 3)
