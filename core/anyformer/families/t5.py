"""T5 (Raffel et al. 2020, https://arxiv.org/abs/1910.10683) and mT5: two stacks without biases, positions on the logits.

* Attention is not scaled. Each stack has one table of relative positions, which the file keeps in its first block.
* The first T5 ties the vocabulary to the table and scales what it reads; T5 1.1 and mT5 do neither.
* `config.context` has a key of its own, `context`, which the home library passes over: T5 has no limit of length.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from anyformer.families.family import Architecture
from anyformer.families.fields import Computed, Field, Fixed, Ours, Row, Theirs, Told
from anyformer.families.steps import Step, kept, same, tied

FEED_FORWARDS = {
    "relu": ("relu", False), "gelu": ("gelu", False), "gelu_new": ("gelu_tanh", False), "silu": ("silu", False),
    "gated-gelu": ("gelu_tanh", True), "gated-gelu_new": ("gelu_tanh", True), "gated-relu": ("relu", True),
    "gated-silu": ("silu", True),
}  # fmt: skip
"""Their `feed_forward_proj` to our activation and gate: `gated-gelu` means the approximation by tanh, `gelu` does not."""
ASSUMED = {
    "vocab_size": 32128, "d_model": 512, "d_kv": 64, "d_ff": 2048, "num_layers": 6, "num_heads": 8,
    "relative_attention_num_buckets": 32, "relative_attention_max_distance": 128, "dropout_rate": 0.1,
    "layer_norm_epsilon": 1e-6, "feed_forward_proj": "relu", "pad_token_id": 0, "eos_token_id": 1,
    "decoder_start_token_id": 0, "context": 8192,
}  # fmt: skip
MT5 = ASSUMED | {
    "vocab_size": 250112, "d_ff": 1024, "num_layers": 8, "num_heads": 6, "feed_forward_proj": "gated-gelu",
    "scale_decoder_outputs": False,
}  # fmt: skip
"""What mT5 assumes. It is never tied, whatever `tie_word_embeddings` says."""


def _both(path: str) -> tuple[str, str]:
    return f"trunk.encoder.{path}", f"trunk.decoder.{path}"


def _everywhere(path: str, value: Any) -> tuple[Row, Row]:
    encoder, decoder = _both(path)
    return Fixed(encoder, value), Fixed(decoder, value)


def _feed_forward(theirs: Theirs) -> dict[str, Any]:
    """Activation and gate; two keys repeat what `feed_forward_proj` says, and must agree with it."""
    said = theirs["feed_forward_proj"]
    if said not in FEED_FORWARDS:
        raise ValueError(f"'feed_forward_proj' is {said!r}; supported: {', '.join(FEED_FORWARDS)}")
    activation, gated = FEED_FORWARDS[said]
    name = "gelu_new" if said == "gated-gelu" else said.removeprefix("gated-")
    for key, meant in (("dense_act_fn", name), ("is_gated_act", gated)):
        if theirs.get(key, meant) != meant:
            raise ValueError(f"{key!r} is {theirs[key]!r}; 'feed_forward_proj' {said!r} means {meant!r}")
    return {
        f"trunk.{stack}.feed_forward.{field}": value
        for stack in ("encoder", "decoder") for field, value in (("activation", activation), ("gated", gated))
    }  # fmt: skip


def _write_feed_forward(ours: Ours) -> dict[str, Any]:
    of = ours["trunk"]["encoder"]["feed_forward"]
    found = [name for name, means in FEED_FORWARDS.items() if means == (of["activation"], of["gated"])]
    if not found:
        raise ValueError(f"feed_forward is {of['activation']!r}, gated={of['gated']}; the family has: {FEED_FORWARDS}")
    return {"feed_forward_proj": found[0]}


def _decoder_depth(theirs: Theirs) -> dict[str, Any]:
    depth = theirs.get("num_decoder_layers")
    return {"trunk.decoder.depth": theirs["num_layers"] if depth is None else depth}


def _is_tied(theirs: Theirs) -> bool:
    """Old files say it by `tie_word_embeddings`; new ones always have that true, and say it by the scale alone."""
    return theirs.get("scale_decoder_outputs", theirs.get("tie_word_embeddings") is not False) is not False


def _vocabulary(theirs: Theirs) -> dict[str, Any]:
    return {"config.tied": _is_tied(theirs), "config.scale": theirs["d_model"] ** -0.5 if _is_tied(theirs) else 1.0}


FIELDS: tuple[Row, ...] = (
    Field("d_model", _both("width")),
    Field("num_layers", "trunk.encoder.depth"),
    Computed(_decoder_depth, lambda ours: {"num_decoder_layers": ours["trunk"]["decoder"]["depth"]}),
    Field("num_heads", _both("attention.heads")),
    Field("d_kv", _both("attention.head_width")),
    Field("d_ff", _both("feed_forward.width")),
    Field("dropout_rate", (*_both("dropout"), *_both("attention.dropout"), *_both("feed_forward.dropout"))),
    Field("layer_norm_epsilon", _both("norm.epsilon")),
    Field("relative_attention_num_buckets", _both("position.buckets")),
    Field("relative_attention_max_distance", _both("position.furthest")),
    Field("vocab_size", "tokenizer.vocabulary_size"),
    Told({"pad_token_id": "pad_id", "eos_token_id": "end_id", "decoder_start_token_id": "start_id"}),
    Computed(_feed_forward, _write_feed_forward),
    *_everywhere("position.kind", "relative"),
    *_everywhere("attention.scale", 1.0),
    *_everywhere("attention.bias", False),
    *_everywhere("attention.output_bias", False),
    *_everywhere("feed_forward.bias", False),
    *_everywhere("norm.kind", "rms"),
    Fixed("trunk.decoder.causal", True),
    Fixed("trunk.decoder.cross", True),
)


def weights(theirs: Theirs) -> Iterator[Step]:
    """The table and both stacks."""
    table = "embedding.streams.source.table.weight"
    yield same("shared.weight", table)
    yield from (tied(f"{stack}.embed_tokens.weight", table) for stack in ("encoder", "decoder"))
    yield from kept("decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight")
    for stack, depth in (
        ("encoder", theirs["num_layers"]), ("decoder", _decoder_depth(theirs)["trunk.decoder.depth"])
    ):  # fmt: skip
        first = f"{stack}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
        yield same(first, f"trunk.{stack}.positions.bias.table.weight")
        for index in range(depth):
            yield from _block(f"{stack}.block.{index}.layer", f"trunk.{stack}.blocks.{index}", stack, theirs)
        yield same(f"{stack}.final_layer_norm.weight", f"trunk.{stack}.final_norm.weight")


def _block(their: str, our: str, stack: str, theirs: Theirs) -> Iterator[Step]:
    attentions = [("SelfAttention", "attention"), ("EncDecAttention", "cross")][: 2 if stack == "decoder" else 1]
    for place, (name, own) in enumerate(attentions):
        for letter, projection in zip("qkvo", ("query", "key", "value", "output"), strict=True):
            yield same(f"{their}.{place}.{name}.{letter}.weight", f"{our}.{own}.{projection}.weight")
        yield same(f"{their}.{place}.layer_norm.weight", f"{our}.{own}_residual.norm.weight")
    last = f"{their}.{len(attentions)}"
    gated = FEED_FORWARDS[theirs["feed_forward_proj"]][1]
    names = {"wi_0": "gate", "wi_1": "up", "wo": "down"} if gated else {"wi": "up", "wo": "down"}
    for name, own in names.items():
        yield same(f"{last}.DenseReluDense.{name}.weight", f"{our}.feed_forward.{own}.weight")
    yield same(f"{last}.layer_norm.weight", f"{our}.feed_forward_residual.norm.weight")


def conditional(task: str, sizes: tuple[Row, ...] = (Field("context", "config.context"),)) -> Architecture:
    """`T5ForConditionalGeneration`: the decoder's next token. `sizes` are the rows of how much the task reads and writes."""

    def head(theirs: Theirs) -> Iterator[Step]:
        yield (tied if _is_tied(theirs) else same)(
            "lm_head.weight", f"{'embedding.streams.target.table' if _is_tied(theirs) else 'head.output'}.weight"
        )

    vocabulary = Computed(_vocabulary, lambda ours: {"tie_word_embeddings": ours["config"]["tied"]})
    return Architecture(task, (*sizes, Fixed("config.bias", False), vocabulary), head)
