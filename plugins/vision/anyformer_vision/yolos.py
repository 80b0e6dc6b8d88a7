"""The embedding of YOLOS: patches, a class token before them and detection tokens behind them.

Fang et al. 2021, You Only Look at One Sequence, https://arxiv.org/abs/2106.00666.

Axis legend: B images, n images of one size, P side of a patch, h and w rows and columns of patches, Q detection tokens, S
rows of a table of positions (one for the class token, the grid, Q), N tables between blocks, D width.

* Positions of patches are learned for one grid, and resampled for the grid that an image has (bicubic).
* The published models add such a table before the first block, and another one after each block but the last.
* A patch's values run row by row with the colours innermost, as those of the tokenizer `vision/patches` do.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anyformer.nn.cache import Cache
from anyformer.nn.layers import initialise
from anyformer.nn.model import Embedding
from anyformer.nn.pack import Pack, Parts, Stream, Streams
from anyformer_vision.image_groups import by_size


class YolosEmbedding(Embedding):
    """Images to the stream `source`: a class token, patches, detection tokens."""

    def __init__(self, width: int, patch: int, num_tokens: int, grid: tuple[int, int], num_between: int = 0) -> None:
        """`grid`: rows and columns that the tables of positions have; `num_between`: tables between blocks."""
        super().__init__()
        self.patch, self.grid = patch, grid
        num_rows = 1 + grid[0] * grid[1] + num_tokens
        self.projection = nn.Linear(3 * patch**2, width)
        self.class_token = nn.Embedding(1, width)
        self.tokens = nn.Embedding(num_tokens, width)
        self.positions = nn.Embedding(num_rows, width)
        initialise(self)
        self.between = nn.Parameter(torch.empty(num_between, num_rows, width)) if num_between else None
        if self.between is not None:
            nn.init.normal_(self.between, std=0.02)

    def forward(self, parts: Parts, cache: Cache | None = None) -> Streams:
        """Parts `pixels` [T, 3] and `size` [B, 2] to a stream of B sequences of 1 + h * w + Q tokens each.

        Sides of images must be multiples of `patch`.
        """
        weight = self.projection.weight
        num_images = parts["size"].pack.num_tokens
        rows: dict[int, Tensor] = {}
        between: dict[int, Tensor] = {}
        for places, images_nHW3 in by_size(parts, weight.dtype):
            patches_nhwV = self._patches(images_nHW3)
            grid = (patches_nhwV.shape[1], patches_nhwV.shape[2])
            # Under autocast the projection is narrow; the residual stream starts as wide as that of a token table.
            patches_nLD = self.projection(patches_nhwV.flatten(1, 2)).to(weight.dtype)
            ends = [table.weight.expand(len(places), -1, -1) for table in (self.class_token, self.tokens)]
            x_nLD = torch.cat([ends[0], patches_nLD, ends[1]], dim=1) + self._resampled(
                self.positions.weight[None], grid
            )
            rows.update(zip(places, x_nLD, strict=True))
            if self.between is not None:
                between.update(dict.fromkeys(places, self._resampled(self.between, grid)))
        order = range(num_images)
        between_NTD = torch.cat([between[place] for place in order], dim=1) if between else None
        pack = Pack.of([len(rows[place]) for place in order], weight.device)
        return {"source": Stream(torch.cat([rows[place] for place in order]), pack, between_NTD=between_NTD)}

    def _patches(self, images_nHW3: Tensor) -> Tensor:
        """[n, H, W, 3] to [n, h, w, P * P * 3]."""
        num, height, width, _ = images_nHW3.shape
        side = self.patch
        assert height % side == width % side == 0, f"patches of {side} do not cover {height} x {width} pixels"
        grid = images_nHW3.view(num, height // side, side, width // side, side, 3)
        return grid.transpose(2, 3).flatten(3)

    def _resampled(self, tables_NSD: Tensor, grid: tuple[int, int]) -> Tensor:
        """Tables [N, S, D] for the grid they were made for, to tables [N, 1 + h * w + Q, D] for another."""
        if grid == self.grid:
            return tables_NSD
        num_places = self.grid[0] * self.grid[1]
        first, places, last = tables_NSD.split([1, num_places, tables_NSD.shape[1] - 1 - num_places], dim=1)
        map_NDhw = places.transpose(1, 2).unflatten(2, self.grid)
        resampled = F.interpolate(map_NDhw, size=grid, mode="bicubic", align_corners=False)
        return torch.cat([first, resampled.flatten(2).transpose(1, 2), last], dim=1)
