"""From the modules of a trunk to those that only answer: fewer and larger products, on packed weights.

Axis legend: T tokens of the pack, D width, F feed-forward width.

* Queries, keys and values of one tensor become one product, of which attention takes its slices; across, keys and values do.
  Attention itself is the one in `anyformer.nn`.
* The activation of a feed-forward layer goes into the product before it, and a gated layer's two products become one.
* What stands between, norms, rotary turns, layer scales, stays as it is. The residual sum stays outside the product: it is
  1 to 2 % of a block, and would run through every signature between.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from jaxtyping import Float
from torch import Tensor, nn

from anyformer.infer.prepare.linear import PackedLinear, Packer
from anyformer.nn.attention import Attention
from anyformer.nn.layers import ACTIVATIONS, FeedForward
from anyformer.nn.trunk import Block, ParallelBlock


class Joined(nn.Module):
    """Projections of the same vectors, as one product, or as two where the last reads them without their positions."""

    def __init__(self, placed: PackedLinear, value: PackedLinear | None, widths: Sequence[int]) -> None:
        """`widths` are the outputs of each projection; without `value`, `placed` makes the last one too."""
        super().__init__()
        self.placed = placed
        self.value = value
        self.widths = list(widths)

    def forward(
        self, x_TD: Float[Tensor, "T D"], position_TD: Float[Tensor, "T D"] | None = None
    ) -> tuple[Float[Tensor, "T width"], ...]:
        """[T, D] and positions, which the last projection does not read, to [T, width] of each projection."""
        placed = self.placed(x_TD if position_TD is None else x_TD + position_TD)
        if self.value is not None:
            return (*placed.split(self.widths[:-1], dim=-1), self.value(x_TD))
        parts = placed.split(self.widths, dim=-1)
        if position_TD is None:
            return parts
        # Right in any case; an embedding that says `places_apart` is spared the second pass.
        return (*parts[:-1], self.placed(x_TD).split(self.widths, dim=-1)[-1])


class GatedFeedForward(nn.Module):
    """A gated feed-forward layer (Shazeer 2020) whose gate and whose other factor are one product."""

    def __init__(self, both: PackedLinear, down: PackedLinear, activation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.both, self.down = both, down
        self.activation = activation

    def forward(self, x_TD: Float[Tensor, "T D"]) -> Float[Tensor, "T D"]:
        """[T, D] to [T, D], token by token."""
        gate_TF, up_TF = self.both(x_TD).chunk(2, dim=-1)
        return self.down(self.activation(gate_TF) * up_TF)


def fuse(root: nn.Module, pack: Packer, apart: bool) -> None:
    """Fuse and pack all that the blocks below `root` have, in place, one layer after another.

    `apart`: queries and keys read something else than values.
    """
    for block in [module for module in root.modules() if isinstance(module, Block | ParallelBlock)]:
        _join(block.attention, ("query", "key", "value"), pack, apart)
        if isinstance(block, Block) and block.cross is not None:
            _join(block.cross, ("key", "value"), pack, apart)
        block.feed_forward = _fused(block.feed_forward, pack)  # type: ignore[assignment]
    for name, module in list(root.named_modules()):
        if type(module) is nn.Linear:
            root.set_submodule(name, pack([module]))


def _join(attention: Attention, names: Sequence[str], pack: Packer, apart: bool) -> None:
    """Put the projections of these names, which read the same vectors, into one."""
    projections = [attention.get_submodule(name) for name in names]
    linear = [layer for layer in projections if isinstance(layer, nn.Linear)]
    assert len(linear) == len(names), "projections are linear"
    widths = [layer.out_features for layer in linear]
    if apart:
        attention.joined = Joined(pack(linear[:-1]), pack(linear[-1:]), widths)
    else:
        attention.joined = Joined(pack(linear), None, widths)
    for name in names:
        delattr(attention, name)


def _fused(layer: FeedForward, pack: Packer) -> nn.Module:
    if layer.gate is not None:
        return GatedFeedForward(pack([layer.gate, layer.up]), pack([layer.down]), layer.activation)
    name = next(name for name, function in ACTIVATIONS.items() if function is layer.activation)
    layer.up = pack([layer.up], activation=name)  # type: ignore[assignment]
    layer.activation = nn.Identity()
    layer.down = pack([layer.down])  # type: ignore[assignment]
    return layer
