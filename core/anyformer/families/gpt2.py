"""GPT-2 (Radford et al. 2019): a decoder with the norm before each half block and learned positions.

* The file keeps linear layers as [in, out], and query, key and value as one.
* Old files have the causal mask of each block, and the number that stands for minus infinity; they are kept.
"""

from __future__ import annotations

from collections.abc import Iterator

from anyformer.families.bert import ACTIVATIONS
from anyformer.families.family import Architecture
from anyformer.families.fields import Field, Fixed, Only, Row, Theirs, Told
from anyformer.families.steps import Step, fused, kept, linear, same, tied, transposed

ASSUMED = {
    "vocab_size": 50257, "n_positions": 1024, "n_embd": 768, "n_layer": 12, "n_head": 12, "n_inner": None,
    "activation_function": "gelu_new", "resid_pdrop": 0.1, "attn_pdrop": 0.1, "layer_norm_epsilon": 1e-5,
    "tie_word_embeddings": True, "bos_token_id": 50256, "eos_token_id": 50256,
}  # fmt: skip
FIELDS: tuple[Row, ...] = (
    Field("n_embd", "trunk.decoder.width"),
    Field("n_layer", "trunk.decoder.depth"),
    Field("n_head", "trunk.decoder.attention.heads"),
    Field("attn_pdrop", "trunk.decoder.attention.dropout"),
    Field("n_inner", "trunk.decoder.feed_forward.width"),
    Field("activation_function", "trunk.decoder.feed_forward.activation", ACTIVATIONS),
    Field("resid_pdrop", "trunk.decoder.dropout"),
    Field("layer_norm_epsilon", "trunk.decoder.norm.epsilon"),
    Field("n_positions", ("trunk.decoder.position.length", "config.context")),
    Field("vocab_size", "tokenizer.vocabulary_size"),
    Told({"bos_token_id": "start_id", "eos_token_id": "end_id"}),
    Fixed("trunk.decoder.causal", True),
    Fixed("trunk.decoder.position.kind", "learned"),
    Only("scale_attn_weights", True),
    Only("scale_attn_by_inverse_layer_idx", False),
    Only("add_cross_attention", False),
)


def weights(theirs: Theirs) -> Iterator[Step]:
    """The embedding and the blocks."""
    yield same("wte.weight", "embedding.streams.target.table.weight")
    yield same("wpe.weight", "embedding.streams.target.positions.table.weight")
    sizes = [theirs["n_embd"]] * 3
    for index in range(theirs["n_layer"]):
        their, our = f"h.{index}", f"trunk.decoder.blocks.{index}"
        yield from linear(f"{their}.ln_1", f"{our}.attention_residual.norm")
        parts = [f"{our}.attention.{name}" for name in ("query", "key", "value")]
        yield fused(f"{their}.attn.c_attn.weight", [f"{part}.weight" for part in parts], sizes, axis=1, transpose=True)
        yield fused(f"{their}.attn.c_attn.bias", [f"{part}.bias" for part in parts], sizes)
        yield from transposed(f"{their}.attn.c_proj", f"{our}.attention.output")
        yield from linear(f"{their}.ln_2", f"{our}.feed_forward_residual.norm")
        yield from transposed(f"{their}.mlp.c_fc", f"{our}.feed_forward.up")
        yield from transposed(f"{their}.mlp.c_proj", f"{our}.feed_forward.down")
        yield from kept(f"{their}.attn.bias", f"{their}.attn.masked_bias")
    yield from linear("ln_f", "trunk.decoder.final_norm")


def language_model(task: str) -> Architecture:
    """`GPT2LMHeadModel`: the next token, tied to the table or not."""
    rows = (Field("tie_word_embeddings", "config.tied"), Fixed("config.bias", False), Fixed("config.scale", 1.0))
    return Architecture(task, rows, vocabulary)


def vocabulary(theirs: Theirs) -> Iterator[Step]:
    """The layer that scores the vocabulary, as the decoders of several families keep it."""
    if theirs["tie_word_embeddings"]:
        yield tied("lm_head.weight", "embedding.streams.target.table.weight")
    else:
        yield same("lm_head.weight", "head.output.weight")
