"""The embedding of DETR: a residual network, positions in two dimensions, and object queries.

Carion et al. 2020, End-to-End Object Detection with Transformers, https://arxiv.org/abs/2005.12872.

Axis legend: B images, N images of one size, H height, W width, C channels, h and w the map's height and width, D width,
Q object queries.

* Images keep their sizes: those of one size go through the network together, and the encoder reads as many tokens as the
  map has places. The published code pads to the largest image and masks.
* All positions go to queries and keys only, never to values: the map's to the encoder and, as keys, to the decoder's
  cross-attention; the object queries are the positions of decoder tokens that start as zeros.
* The batch norms of the network are frozen: affine maps with fixed numbers, read from a checkpoint. In a new model they do
  nothing, but that the last one of each block makes it small, or the map would grow from block to block.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from anyformer.nn.cache import Cache
from anyformer.nn.layers import initialise
from anyformer.nn.model import Embedding
from anyformer.nn.pack import Pack, Parts, Stream, Streams
from anyformer_vision.image_groups import by_size

Backbone = Literal["resnet10t", "resnet18", "resnet26", "resnet34", "resnet50", "resnet101"]
TEMPERATURE = 10000.0
"""Base of the wavelengths of the positions."""


class DetrEmbedding(Embedding):
    """Images to the stream `source`, the places of a map, and to the stream `target`, the object queries."""

    places_apart = True

    def __init__(
        self, backbone: nn.Module, num_channels: int, source_width: int, target_width: int, num_queries: int
    ) -> None:
        super().__init__()
        if source_width % 4:
            raise ValueError(
                f"encoder.width is {source_width}; positions in two dimensions need a multiple of 4, set it to one"
            )
        self.backbone = backbone
        self.projection = nn.Linear(num_channels, source_width)
        self.queries = nn.Embedding(num_queries, target_width)
        initialise(self.projection)
        # At unit scale, as in the published code: queries that start alike attend alike, and take long to part.
        nn.init.normal_(self.queries.weight)

    def forward(self, parts: Parts, cache: Cache | None = None) -> Streams:
        """Parts `pixels` [T, 3] and `size` [B, 2] to streams of B sequences: `source` [h * w] tokens each, `target` [Q]."""
        weight = self.projection.weight
        num_images = parts["size"].pack.num_tokens
        maps: dict[int, Tensor] = {}
        positions: dict[int, Tensor] = {}
        for places, images_NHW3 in by_size(parts, weight.dtype):
            map_NChw = self.backbone(images_NHW3.permute(0, 3, 1, 2))[-1]
            # Under autocast the projection is narrow; the residual stream starts as wide as that of a token table.
            map_NLD = self.projection(map_NChw.flatten(2).transpose(1, 2)).to(weight.dtype)
            height, width = map_NChw.shape[2:]
            position_LD = sine_positions(height, width, map_NLD.shape[2], weight)
            for place, map_LD in zip(places, map_NLD, strict=True):
                maps[place], positions[place] = map_LD, position_LD
        order = range(num_images)
        pack = Pack.of([len(maps[place]) for place in order], weight.device)
        queries_QD = self.queries.weight
        query_TD = queries_QD.repeat(num_images, 1)
        query_pack = Pack.of([len(queries_QD)] * num_images, weight.device)
        return {
            "source": Stream(
                torch.cat([maps[place] for place in order]), pack, torch.cat([positions[place] for place in order])
            ),
            "target": Stream(torch.zeros_like(query_TD), query_pack, query_TD),
        }


def sine_positions(height: int, width: int, num_features: int, like: Tensor) -> Float[Tensor, "hw D"]:
    """Positions of a map, row by row: sines and cosines of the row in the first half of the features, then of the column.

    Rows and columns are counted from 1 and scaled so that the last is 2 pi, whatever the size of the map.
    """
    half = num_features // 2
    steps = torch.arange(half // 2, dtype=like.dtype, device=like.device)
    wavelengths = TEMPERATURE ** (2 * steps / half)

    def along(length: int) -> Tensor:
        places = torch.arange(1, length + 1, dtype=like.dtype, device=like.device)
        angles = (places / (length + 1e-6) * 2 * math.pi)[:, None] / wavelengths
        return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)

    rows = along(height)[:, None, :].expand(height, width, half)
    columns = along(width)[None, :, :].expand(height, width, half)
    return torch.cat([rows, columns], dim=-1).flatten(0, 1)


def residual_network(name: Backbone, dilation: bool) -> tuple[nn.Module, int]:
    """A residual network (He et al. 2016) of timm, new, whose output ends with its last map; and the map's channels.

    The map is 32 times smaller than the image, or 16 times where the last stage is dilated (DC5).
    """
    import timm
    from torchvision.ops import FrozenBatchNorm2d

    def frozen(width: int, **factory: Any) -> nn.Module:
        return FrozenBatchNorm2d(width)  # timm also names a device and a type, where None stands for the usual ones

    network: Any = timm.create_model(
        name, pretrained=False, features_only=True, out_indices=(4,), output_stride=16 if dilation else 32,
        norm_layer=frozen, zero_init_last=False,
    )  # fmt: skip
    blocks = [block for stage in range(1, 5) for block in network[f"layer{stage}"]]
    for block in blocks:
        last = block.bn3 if hasattr(block, "bn3") else block.bn2
        last.weight.fill_(len(blocks) ** -0.5)
    return network, network.feature_info.channels()[-1]
