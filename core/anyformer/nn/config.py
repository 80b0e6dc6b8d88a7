"""The configuration of the trunk: small frozen models that compose. This module imports no torch.

Every field names the choice of a published architecture; where it comes from stands below it. Presets are functions that
return a `Trunk`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from anyformer.task import Frozen


class Attention(Frozen):
    """Scaled dot-product attention (Vaswani et al. 2017)."""

    heads: int = Field(default=8, ge=1)
    """Query heads, H."""
    key_value_heads: int | None = Field(default=None, ge=1)
    """Key and value heads, K: fewer than `heads` is grouped-query (Ainslie et al. 2023), 1 is multi-query (Shazeer 2019).
    None: as many as `heads`."""
    head_width: int | None = Field(default=None, ge=1)
    """Width of a head, E. None: the stack's width divided by `heads`."""
    bias: bool = True
    """Biases of the query, key and value projections."""
    output_bias: bool = True
    """Bias of the output projection."""
    query_key_norm: Literal["none", "layer", "rms"] = "none"
    """Norm of each query and key head before the product (Henry et al. 2020; Qwen3)."""
    scale: float | None = Field(default=None, gt=0)
    """Of the logits. None: 1 / sqrt(head width); T5 has 1."""
    window: int | None = Field(default=None, ge=1)
    """Keys this many steps away and further are not seen (Beltagy et al. 2020; Mistral). None: all are."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """On the attention weights."""


class LinearScaling(Frozen):
    """Positions divided by a factor (Chen et al. 2023, https://arxiv.org/abs/2306.15595)."""

    name: Literal["linear"] = "linear"
    factor: float = Field(gt=0)


class BandScaling(Frozen):
    """Slow wavelengths divided by a factor, fast ones kept, those between blended (Llama 3.1)."""

    name: Literal["bands"] = "bands"
    factor: float = Field(gt=0)
    low: float = Field(default=1.0, gt=0)
    """Turns within the original length below which a wavelength is slow."""
    high: float = Field(default=4.0, gt=0)
    """Turns above which it is fast."""
    original_length: int = Field(ge=1)


class Position(Frozen):
    """How order enters the model."""

    kind: Literal["none", "learned", "sinusoidal", "rotary", "alibi", "relative"] = "rotary"
    """`learned` (BERT, GPT-2) and `sinusoidal` (Vaswani et al. 2017) are added by the embedding; `rotary` (Su et al. 2021)
    turns queries and keys; `alibi` (Press et al. 2022) and `relative` (T5, Raffel et al. 2020) are added to the logits."""
    length: int = Field(default=2048, ge=1)
    """Rows of a learned table: the longest sequence. The other kinds have no limit."""
    base: float = Field(default=10000.0, gt=0)
    """Base of the wavelengths of sinusoidal and rotary positions."""
    width: int | None = Field(default=None, ge=2)
    """Coordinates of a head that rotary positions turn, the first ones. None: all."""
    interleaved: bool = False
    """Rotary pairs are neighbours (2i, 2i + 1), as in GPT-J; else i goes with i + half (GPT-NeoX, Llama's usual files)."""
    scaling: Annotated[LinearScaling | BandScaling, Field(discriminator="name")] | None = None
    """How rotary positions reach beyond the length they were trained on."""
    stored: bool = False
    """Rotary frequencies are kept with the weights: ESM-2 was trained with those of half precision, which its files hold."""
    buckets: int = Field(default=32, ge=4)
    """Rows of the relative table."""
    furthest: int = Field(default=128, ge=2)
    """Distance from which on relative positions share one bucket."""
    offset: int = Field(default=0, ge=0)
    """Rows of a learned table before that of the first token: BART and RoBERTa keep two, which nothing reads."""
    halves: bool = False
    """Sinusoidal positions with all sines before all cosines (Marian), instead of one after another."""


class Embedding(Frozen):
    """What stands between the tokenizer and the first block, beside the table and its positions."""

    norm: bool = False
    """A norm of the stack's kind after positions are added (BERT)."""
    bias: bool = True
    """Bias of the projection of continuous patches."""
    scale: float | None = Field(default=None, gt=0)
    """Factor of token vectors. None: 1, or the root of the width beside sinusoidal positions (Vaswani et al. 2017)."""
    segments: int = Field(default=0, ge=0)
    """Rows of a table of segments, chosen token by token by the part `<stream>_segments` (BERT); absent, all are 0."""
    expected_masked: float | None = Field(default=None, ge=0, lt=1)
    """Share of mask tokens to expect: their vectors are 0 and the others are scaled as if so many were hidden (ESM-2)."""


class FeedForward(Frozen):
    """The token-wise half of a block."""

    width: int | None = Field(default=None, ge=1)
    """Inner width, F. None: four times the stack's width, or 8/3 of it rounded up to a multiple of 8 when gated."""
    activation: Literal["gelu", "gelu_tanh", "relu", "silu"] = "gelu"
    gated: bool = False
    """Multiply by a second projection: with `silu` this is SwiGLU, with `gelu` GeGLU (Shazeer 2020)."""
    bias: bool = True
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """On the inner activations."""


class Norm(Frozen):
    """Normalisation of the residual stream."""

    kind: Literal["layer", "rms", "batch"] = "layer"
    """LayerNorm (Ba et al. 2016), RMSNorm (Zhang and Sennrich 2019), or batch norm over tokens (PatchTST)."""
    place: Literal["pre", "post"] = "pre"
    """Before each half block (GPT-2), or after the residual sum (Vaswani et al. 2017)."""
    final: bool | None = None
    """A last norm after the blocks. None: with `pre`, not with `post`."""
    epsilon: float = Field(default=1e-5, gt=0)
    bias: bool = True
    """Of LayerNorm; RMSNorm has none."""


class Stack(Frozen):
    """A stack of blocks: encoder, decoder, or the decoder of an encoder-decoder, by two booleans."""

    width: int = Field(default=256, ge=1)
    """Width of the residual stream, D."""
    depth: int = Field(default=4, ge=0, le=10_000)
    """Number of blocks."""
    causal: bool = False
    """A token sees only itself and what stands before it."""
    cross: bool = False
    """Each block also attends to a memory."""
    memory_width: int | None = Field(default=None, ge=1)
    """Width of the memory that cross-attention reads. None: the encoder's, or the stack's own where it stands alone."""
    attention: Attention = Attention()
    embedding: Embedding = Embedding()
    position: Position = Position()
    feed_forward: FeedForward = FeedForward()
    norm: Norm = Norm()
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """On the embedding's output and on each half block before the residual sum."""
    parallel: bool = False
    """Attention and feed-forward read the same norm and are added together (GPT-J; PaLM, Chowdhery et al. 2022)."""
    layer_scale: float | None = Field(default=None, gt=0)
    """Start of a learned factor for each width of what a half block adds (Touvron et al. 2021). None: no factor."""
    stochastic_depth: float = Field(default=0.0, ge=0, lt=1)
    """Chance that a sequence skips a half block of the last block; earlier ones in proportion (Huang et al. 2016)."""

    @model_validator(mode="after")
    def _heads_divide(self) -> Stack:
        attention = self.attention
        if attention.head_width is None and self.width % attention.heads:
            raise ValueError(
                f"width {self.width} is not divisible by {attention.heads} heads; set attention.head_width or another width"
            )
        if attention.heads % (attention.key_value_heads or attention.heads):
            raise ValueError(
                f"{attention.heads} heads cannot be grouped over {attention.key_value_heads} key_value_heads; "
                "the second must divide the first"
            )
        turned = self.rotary_width
        if turned % 2 or turned > self.head_width:
            raise ValueError(
                f"rotary positions turn an even number of a head's coordinates, at most all; {turned} of {self.head_width} "
                "were asked for (position.width)"
            )
        if self.position.halves and self.width % 2:
            raise ValueError(f"sines before cosines (position.halves) need an even width; it is {self.width}")
        if self.parallel and (self.cross or self.norm.place == "post"):
            raise ValueError("a parallel block has pre-norm and no cross-attention")
        return self

    @property
    def rotary_width(self) -> int:
        """Coordinates of a head that are turned; 0 without rotary positions."""
        return (self.position.width or self.head_width) if self.position.kind == "rotary" else 0

    @property
    def head_width(self) -> int:
        """E: width of one head."""
        return self.attention.head_width or self.width // self.attention.heads

    @property
    def inner_width(self) -> int:
        """F: inner width of the feed-forward layer."""
        if self.feed_forward.width is not None:
            return self.feed_forward.width
        return -(-self.width * 8 // 3 // 8) * 8 if self.feed_forward.gated else 4 * self.width

    @property
    def in_full(self) -> Stack:
        """The same stack, with the sizes that follow from others written out."""
        heads = self.attention.key_value_heads or self.attention.heads
        return self.model_copy(
            update={
                "attention": self.attention.model_copy(
                    update={"key_value_heads": heads, "head_width": self.head_width}
                ),
                "feed_forward": self.feed_forward.model_copy(update={"width": self.inner_width}),
            }
        )


class Trunk(Frozen):
    """The shared Transformer: an encoder, a decoder, or both."""

    encoder: Stack | None = None
    """Reads the stream called `source`."""
    decoder: Stack | None = None
    """Reads the stream called `target`; with `cross`, it attends to the encoder's output."""

    @model_validator(mode="after")
    def _not_empty(self) -> Trunk:
        if self.encoder is None and self.decoder is None:
            raise ValueError("a trunk needs an encoder, a decoder, or both")
        if self.decoder is not None and self.decoder.cross and self.encoder is None:
            raise ValueError("decoder.cross attends to an encoder; give one, or set decoder.cross to false")
        if self.encoder is not None and self.decoder is not None:
            width = self.decoder.memory_width
            if self.decoder.cross and width not in (None, self.encoder.width):
                raise ValueError(
                    f"decoder.memory_width is {width}, but the encoder is {self.encoder.width} wide; leave it out"
                )
        return self

    @property
    def stacks(self) -> dict[str, Stack]:
        """The stacks by the name of the stream they read."""
        pairs = {"source": self.encoder, "target": self.decoder}
        return {name: stack for name, stack in pairs.items() if stack is not None}

    @property
    def in_full(self) -> Trunk:
        """The same trunk, with the sizes that follow from others written out."""
        return Trunk(encoder=self.encoder and self.encoder.in_full, decoder=self.decoder and self.decoder.in_full)

    @property
    def output(self) -> Stack:
        """The stack whose output the head reads: the decoder where there is one."""
        stack = self.decoder or self.encoder
        assert stack is not None
        return stack
