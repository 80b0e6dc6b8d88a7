"""Masked patch: an encoder sees a few patches of an image or a series, a light decoder says the others (MAE, He et al. 2022,
https://arxiv.org/abs/2111.06377).

* Hidden patches are taken out, not replaced: the encoder gets a pack of the seen ones with the positions they had.
* Patches that overlap are refused, since a hidden one could be read off its neighbours (Nie et al. 2023,
  https://arxiv.org/abs/2211.14730, section 4.2).
* With `scaled`, mean and deviation come from the seen patches alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field, model_validator

from anyformer.nn import config as nn_config
from anyformer.objectives.items import raw_item
from anyformer.objectives.spans import num_hidden
from anyformer.task import Array, Frozen, Objective, Rng, Sample, Tokenizer

if TYPE_CHECKING:
    from anyformer.nn import Embedding, Head

GAPLESS = ("alibi", "relative")
"""Kinds of positions that count the tokens between two, and so know no gaps."""


class Decoder(nn_config.Stack):
    """The stack that says the hidden patches; small, for it is thrown away."""

    width: int = Field(default=128, ge=1)
    depth: int = Field(default=2, ge=0, le=10_000)
    position: nn_config.Position = nn_config.Position(kind="sinusoidal")


class MaskedPatch(Objective):
    """An encoder learns hidden patches from the few that it sees."""

    class Config(Frozen):
        """Of the objective."""

        context: int | None = Field(default=None, ge=2)
        """Patches of a window at most, for long series; None: an item is never cut."""
        rate: float = Field(default=0.75, gt=0, lt=1)
        """Share of the patches that are hidden."""
        scaled: bool = False
        """Bring each item to mean 0 and deviation 1 first: for series, which come on any scale."""
        normalised: bool = True
        """Compare with each hidden patch brought to mean 0 and deviation 1."""
        decoder: Decoder = Decoder()
        """What says the hidden patches from what the encoder made of the seen ones."""

        @model_validator(mode="after")
        def _alone(self) -> MaskedPatch.Config:
            if self.decoder.cross:
                raise ValueError(
                    "the decoder reads seen and hidden patches as one sequence; set decoder.cross to false"
                )
            return self

    trunk = "encoder"
    default_trunk: ClassVar[Mapping[str, Any]] = {"encoder": {"position": {"kind": "learned", "length": 1024}}}
    default_training: ClassVar[Mapping[str, Any]] = {"optimizer": {"name": "adamw", "weight_decay": 0.05}}

    def __init__(self, config: Any, tokenizer: Tokenizer) -> None:
        super().__init__(config, tokenizer)
        if not tokenizer.patch_width:
            raise ValueError("masked-patch needs a tokenizer of continuous patches; the one given makes ids")
        if tokenizer.patch_overlap:
            raise ValueError(
                f"a patch of this tokenizer shares {tokenizer.patch_overlap} values with the next, so a hidden one could be "
                "read off its neighbours; make patches that share none (of a series, a stride equal to their length)"
            )
        if tokenizer.patch_width == 1 and config.normalised:
            raise ValueError(
                "a patch of one value has no deviation to be normalised by; set config.normalised to false"
            )

    def records(self, raw: Sequence[Any]) -> Sequence[dict[str, Array]]:
        """An item is a record, read when it is asked for; with `context`, each of its windows is."""
        whole, size = _Items(raw, self.tokenizer), self.config.context
        if size is None:
            return whole
        encoded = (item["patches"] for item in whole)
        return [{"patches": one[start : start + size]} for one in encoded for start in range(0, len(one), size)]

    def learn(self, parts: dict[str, Array], rng: Rng) -> list[Sample]:
        """The seen patches, where they were and where the others were; the target is those. One patch gives nothing."""
        patches = parts["patches"]
        length = len(patches)
        if length < 2:
            return []
        hidden = np.zeros(length, dtype=bool)
        hidden[rng.choice(length, num_hidden(length, self.config.rate), replace=False)] = True
        if self.config.scaled:
            patches = _scaled(patches, patches[~hidden])
        seen = {
            "source": patches[~hidden],
            "source_positions": np.flatnonzero(~hidden),
            "hidden_positions": np.flatnonzero(hidden),
        }
        return [Sample(seen, {"patches": patches[hidden]}, tokens=length)]

    def embedding(self, trunk: nn_config.Trunk) -> Embedding:
        """The default embedding, for patches with gaps between them. Raises `ValueError` for positions that know no gaps."""
        from anyformer.heads.patches import SeenPatches
        from anyformer.nn.build import embedding_for

        encoder = trunk.encoder
        assert encoder is not None, "checked before"
        if encoder.position.kind in GAPLESS or encoder.attention.window is not None:
            raise ValueError(
                "the encoder sees patches with gaps between them, and alibi and relative positions and attention windows "
                "count tokens; set trunk.encoder.position.kind to learned, sinusoidal or rotary, without a window"
            )
        return SeenPatches(embedding_for(trunk, {"source": self.tokenizer}))

    def head(self, trunk: nn_config.Trunk) -> Head:
        """The light decoder."""
        from anyformer.heads import HiddenPatches
        from anyformer.nn import build
        from anyformer.nn.embedding import Positions

        encoder, decoder = trunk.encoder, self.config.decoder
        assert encoder is not None, "checked before"
        return HiddenPatches(
            encoder.width, self.tokenizer.patch_width, decoder.width, build.stack(decoder),
            Positions(decoder.position, decoder.width), self.config.normalised,
        )  # fmt: skip


class _Items(Sequence[dict[str, Array]]):
    """Raw items as patches, made when they are asked for: a million images are not held in memory."""

    def __init__(self, raw: Sequence[Any], tokenizer: Tokenizer) -> None:
        self.raw, self.tokenizer = raw, tokenizer

    def __len__(self) -> int:
        return len(self.raw)

    def __getitem__(self, index: Any) -> Any:
        patches = next(iter(self.tokenizer.encode(raw_item(self.raw[index])).values()))
        assert patches.ndim == 2
        return {"patches": patches}


def _scaled(patches: Array, seen: Array) -> Array:
    """`patches` [L, P] less the mean of those that are seen, divided by their deviation; where that is nothing, by 1."""
    mean, deviation = seen.mean(dtype=np.float64), seen.std(dtype=np.float64)
    hardly = deviation <= 1e-6 * abs(mean)
    return ((patches - mean) / (1.0 if hardly else deviation)).astype(np.float32)
