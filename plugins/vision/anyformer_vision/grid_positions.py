"""Positions of patches that were learned for one grid, used for another, and the embedding that has them.

Axis legend: T tokens of the pack, D width, S rows of the table (class tokens, then the grid), h and w rows and columns.

* The table is resampled bicubically, the class tokens' rows left as they are (Dosovitskiy et al. 2020, section 3.2). DINOv2
  (Oquab et al. 2023, https://arxiv.org/abs/2304.07193) is always used this way: it was trained at 518 pixels and is
  evaluated at 224.
* It is resampled in fp32, whatever the type of the model, as the published models are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from anyformer.nn import config
from anyformer.nn.build import embedding_for
from anyformer.nn.embedding import StreamEmbedding
from anyformer.nn.pack import Pack


class GridPositions(nn.Module):
    """A learned table for `num_prefix` tokens and the grid `learned`, added as if it had been learned for `grid`."""

    def __init__(self, table: nn.Embedding, num_prefix: int, learned: tuple[int, int], grid: tuple[int, int]) -> None:
        super().__init__()
        self.table = table
        self.num_prefix = num_prefix
        self.learned, self.grid = learned, grid

    def forward(self, x_TD: Float[Tensor, "T D"], pack: Pack) -> Float[Tensor, "T D"]:
        """[T, D] to [T, D]; every sequence has `num_prefix` tokens and the whole grid."""
        return x_TD + self._rows()[pack.positions]

    def _rows(self) -> Tensor:
        """The table [S, D] for the grid that is read."""
        weight_SD = self.table.weight
        if self.grid == self.learned:
            return weight_SD
        prefix_PD, places_SD = weight_SD[: self.num_prefix], weight_SD[self.num_prefix :]
        map_1Dhw = places_SD.float().T.unflatten(1, self.learned)[None]
        with torch.autocast(map_1Dhw.device.type, enabled=False):
            map_1Dhw = F.interpolate(map_1Dhw, size=self.grid, mode="bicubic", align_corners=False)
        return torch.cat([prefix_PD, map_1Dhw[0].flatten(1).T.to(weight_SD.dtype)])


def patch_embedding(
    trunk: config.Trunk, tokenizers: Mapping[str, Any], num_prefix: int, learned: tuple[int, int] | None
) -> StreamEmbedding:
    """The default embedding of patches with class tokens; positions are for the grid `learned`, None: the images'.

    Raises `ValueError` where the trunk has another number of positions than that grid has places.
    """
    made = embedding_for(trunk, tokenizers, num_prefix)
    if learned is None:
        return made
    embedding: Any = made.streams["source"]
    (tokenizer,) = tokenizers.values()
    table, wanted = embedding.positions.table, num_prefix + learned[0] * learned[1]
    if table is None or table.num_embeddings != wanted:
        has = "none" if table is None else table.num_embeddings
        raise ValueError(
            f"positions for a grid of {learned[0]} x {learned[1]} patches and {num_prefix} class tokens are {wanted} "
            f"learned ones; the trunk has {has} (position.kind, position.length)"
        )
    embedding.positions = GridPositions(table, num_prefix, learned, tokenizer.grid)
    return made
