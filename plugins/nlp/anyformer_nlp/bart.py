"""BART (Lewis et al. 2019, https://arxiv.org/abs/1910.13461), mBART (Liu et al. 2020), Marian (Junczys-Dowmunt et al. 2018).

| variant | positions                      | norm                           | embedding         |
|---------|--------------------------------|--------------------------------|-------------------|
| BART    | learned, two rows before them  | after each half block          | has a norm        |
| mBART   | learned, two rows before them  | before each half block, at end | has a norm        |
| Marian  | sinusoids, sines before cosines| after each half block          | has none          |

* One table serves both stacks and the vocabulary; the file may have it under four keys. Files with tables of their own for
  each stack are refused: both languages would need a vocabulary of their own.
* The vocabulary has a bias, `final_logits_bias`.
* Marian never writes its filler, with which its translations begin.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch

from anyformer.families.bert import ACTIVATIONS
from anyformer.families.family import Architecture, Table
from anyformer.families.fields import Computed, Field, Fixed, Only, Ours, Row, Theirs, Told
from anyformer.families.steps import Step, constant, linear, mapped, same, tied
from anyformer.nn.layers import sinusoids

STACKS = ("encoder", "decoder")
NAMES = {"swish": "silu", **ACTIVATIONS}
"""Their names of activations to ours."""
ASSUMED = {
    "d_model": 1024, "encoder_layers": 12, "decoder_layers": 12, "encoder_attention_heads": 16,
    "decoder_attention_heads": 16, "encoder_ffn_dim": 4096, "decoder_ffn_dim": 4096, "activation_function": "gelu",
    "dropout": 0.1, "attention_dropout": 0.0, "activation_dropout": 0.0, "max_position_embeddings": 1024,
    "scale_embedding": False, "tie_word_embeddings": True, "vocab_size": 50265, "pad_token_id": 1, "bos_token_id": 0,
    "eos_token_id": 2, "decoder_start_token_id": 2, "forced_bos_token_id": None, "forced_eos_token_id": 2,
}  # fmt: skip
MBART_ASSUMED = ASSUMED | {"decoder_start_token_id": None}
MARIAN_ASSUMED = ASSUMED | {
    "vocab_size": 58101, "pad_token_id": 58100, "bos_token_id": None, "eos_token_id": 0, "decoder_start_token_id": 58100,
    "forced_eos_token_id": 0,
}  # fmt: skip
GENERATION = ("forced_bos_token_id", "forced_eos_token_id", "bad_words_ids")


def _both(path: str) -> tuple[str, ...]:
    return tuple(f"trunk.{stack}.{path}" for stack in STACKS)


def _everywhere(path: str, value: Any) -> tuple[Row, ...]:
    return tuple(Fixed(path, value) for path in _both(path))


def _scale(common: bool) -> Row:
    """`scale_embedding` multiplies by the root of the width; `common` is what our embedding does when nothing is said."""

    def reading(theirs: Theirs) -> dict[str, Any]:
        scaled = bool(theirs["scale_embedding"])
        scale = None if scaled is common else math.sqrt(theirs["d_model"]) if scaled else 1.0
        return dict.fromkeys(_both("embedding.scale"), scale)

    def writing(ours: Ours) -> dict[str, Any]:
        scale = ours["trunk"]["encoder"]["embedding"]["scale"]
        return {"scale_embedding": common if scale is None else scale != 1}

    return Computed(reading, writing)


def _never(theirs: Theirs) -> dict[str, Any]:
    """Ids that are never written; where the file says nothing, Marian's filler."""
    said = theirs.get("bad_words_ids")
    if said is None:
        filler = theirs["pad_token_id"] if theirs.get("model_type") == "marian" else None
        said = [] if filler is None else [[filler]]
    if any(len(ids) != 1 for ids in said):
        raise ValueError(f"'bad_words_ids' is {said!r}; supported: single ids")
    return {"config.suppressed": tuple(ids[0] for ids in said)}


SHARED: tuple[Row, ...] = (
    Field("d_model", _both("width")),
    *(Field(f"{stack}_layers", f"trunk.{stack}.depth") for stack in STACKS),
    *(Field(f"{stack}_attention_heads", f"trunk.{stack}.attention.heads") for stack in STACKS),
    *(Field(f"{stack}_ffn_dim", f"trunk.{stack}.feed_forward.width") for stack in STACKS),
    Field("activation_function", _both("feed_forward.activation"), NAMES),
    Field("dropout", _both("dropout")),
    Field("attention_dropout", _both("attention.dropout")),
    Field("activation_dropout", _both("feed_forward.dropout")),
    Field("max_position_embeddings", (*_both("position.length"), "config.context")),
    Field("vocab_size", "tokenizer.vocabulary_size"),
    Told({"pad_token_id": "pad_id", "eos_token_id": "end_id", "decoder_start_token_id": "start_id"}),
    Only("tie_word_embeddings", True),
    Fixed("trunk.decoder.causal", True),
    Fixed("trunk.decoder.cross", True),
    Fixed("config.tied", True),
    Fixed("config.bias", True),
    Field("forced_bos_token_id", "config.forced_first"),
    Field("forced_eos_token_id", "config.forced_last"),
    Computed(_never, lambda ours: {"bad_words_ids": [[id] for id in ours["config"]["suppressed"]] or None}),
)
LEARNED = (*_everywhere("position.kind", "learned"), *_everywhere("position.offset", 2), _scale(common=False))
BART = (*SHARED, *LEARNED, *_everywhere("embedding.norm", True), *_everywhere("norm.place", "post"))
MBART = (*SHARED, *LEARNED, *_everywhere("embedding.norm", True), *_everywhere("norm.place", "pre"))
MARIAN = (
    *SHARED, *_everywhere("position.kind", "sinusoidal"), *_everywhere("position.halves", True), _scale(common=True),
    *_everywhere("norm.place", "post"), Only("share_encoder_decoder_embeddings", True),
    Computed(lambda theirs: _one_vocabulary(theirs), lambda ours: {}),
)  # fmt: skip


def _one_vocabulary(theirs: Theirs) -> dict[str, Any]:
    size, other = theirs["vocab_size"], theirs.get("decoder_vocab_size")
    if other not in (None, size):
        raise ValueError(f"'decoder_vocab_size' is {other!r}; supported: that of 'vocab_size', {size}")
    return {}


def weights(sinusoidal: bool = False, final: bool = False) -> Table:
    """The table of weights; `final`: each stack ends with a norm."""

    def table(theirs: Theirs) -> Iterator[Step]:
        tokens = "embedding.streams.source.table.weight"
        yield same("shared.weight", tokens)
        for stack, stream in zip(STACKS, ("source", "target"), strict=True):
            own = f"embedding.streams.{stream}"
            yield tied(f"{stack}.embed_tokens.weight", tokens)
            if sinusoidal:
                yield constant(f"{stack}.embed_positions.weight", lambda: positions(theirs))
            else:
                yield same(f"{stack}.embed_positions.weight", f"{own}.positions.table.weight")
                yield from linear(f"{stack}.layernorm_embedding", f"{own}.norm")
            for index in range(theirs[f"{stack}_layers"]):
                yield from _block(f"{stack}.layers.{index}", f"trunk.{stack}.blocks.{index}", stack)
            if final:
                yield from linear(f"{stack}.layer_norm", f"trunk.{stack}.final_norm")

    return table


def _block(their: str, our: str, stack: str) -> Iterator[Step]:
    for name, own in {"self_attn": "attention", "encoder_attn": "cross"}.items():
        if own == "attention" or stack == "decoder":
            for letter, projection in {"q": "query", "k": "key", "v": "value", "out": "output"}.items():
                yield from linear(f"{their}.{name}.{letter}_proj", f"{our}.{own}.{projection}")
            yield from linear(f"{their}.{name}_layer_norm", f"{our}.{own}_residual.norm")
    yield from linear(f"{their}.fc1", f"{our}.feed_forward.up")
    yield from linear(f"{their}.fc2", f"{our}.feed_forward.down")
    yield from linear(f"{their}.final_layer_norm", f"{our}.feed_forward_residual.norm")


def positions(theirs: Theirs) -> torch.Tensor:
    """Marian's table of sinusoids [L, D], which old files hold."""
    rows = torch.arange(theirs["max_position_embeddings"])
    return sinusoids(rows, theirs["d_model"], 10000.0, torch.float64, halves=True).float()


def conditional(task: str) -> Architecture:
    """`BartForConditionalGeneration` and its like: the decoder's next token, tied, with a bias."""

    def head(theirs: Theirs) -> Iterator[Step]:
        yield tied("lm_head.weight", "embedding.streams.target.table.weight")
        yield mapped("final_logits_bias", "head.output.bias", lambda bias: bias[0], lambda bias: bias[None])

    return Architecture(task, weights=head)
