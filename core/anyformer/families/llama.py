"""Llama (Touvron et al. 2023, https://arxiv.org/abs/2302.13971) and its kin: rotary positions, RMSNorm and gates.

| family  | differs in                                                                                     |
|---------|------------------------------------------------------------------------------------------------|
| llama   | biases of attention and of the feed-forward layer, where the configuration says so             |
| mistral | a window; no biases (Jiang et al. 2023, https://arxiv.org/abs/2310.06825)                       |
| qwen2   | biases of query, key and value (Yang et al. 2024, https://arxiv.org/abs/2407.10671)             |
| qwen3   | a norm of each query and key head, head width of its own (https://arxiv.org/abs/2505.09388)     |

* A window that only some blocks have is refused. The frequencies that old files have in each block are kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from anyformer.families.bert import ACTIVATIONS
from anyformer.families.family import Architecture, Family
from anyformer.families.fields import Computed, Field, Fixed, Ours, Row, Theirs, Told
from anyformer.families.gpt2 import vocabulary
from anyformer.families.rotary import ROTARY
from anyformer.families.steps import Step, kept, linear, same

ATTENTION = "trunk.decoder.attention"


def _window(theirs: Theirs) -> Mapping[str, Any]:
    """Qwen's window: of all blocks, or of none."""
    window = theirs.get("sliding_window") if theirs.get("use_sliding_window") else None
    first, depth = theirs["max_window_layers"], theirs["num_hidden_layers"]
    slides = [window is not None and index >= first for index in range(depth)]
    if theirs.get("layer_types") is not None:
        slides = [kind == "sliding_attention" for kind in theirs["layer_types"]]
    if any(slides) and not all(slides):
        raise ValueError(
            f"'layer_types' and 'max_window_layers' give a window to {sum(slides)} of {depth} blocks; supported: all or none"
        )
    return {f"{ATTENTION}.window": window if any(slides) else None}


def _sliding(ours: Ours) -> Mapping[str, Any]:
    window = ours["trunk"]["decoder"]["attention"]["window"]
    if window is None:
        return {"use_sliding_window": False}
    return {"use_sliding_window": True, "sliding_window": window, "max_window_layers": 0}


ASSUMED = {
    "vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32,
    "num_attention_heads": 32, "num_key_value_heads": None, "head_dim": None, "hidden_act": "silu",
    "max_position_embeddings": 2048, "rms_norm_eps": 1e-6, "tie_word_embeddings": False, "attention_dropout": 0.0,
    "attention_bias": False, "mlp_bias": False, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
MISTRAL = {
    "intermediate_size": 14336, "num_key_value_heads": 8, "max_position_embeddings": 131072, "sliding_window": 4096,
}  # fmt: skip
QWEN = {
    "vocab_size": 151936, "intermediate_size": 22016, "num_key_value_heads": 32, "max_position_embeddings": 32768,
    "use_sliding_window": False, "sliding_window": 4096, "max_window_layers": 28, "bos_token_id": None, "eos_token_id": None,
}  # fmt: skip
FIELDS: tuple[Row, ...] = (
    Field("hidden_size", "trunk.decoder.width"),
    Field("num_hidden_layers", "trunk.decoder.depth"),
    Field("num_attention_heads", f"{ATTENTION}.heads"),
    Field("attention_dropout", f"{ATTENTION}.dropout"),
    Field("hidden_act", "trunk.decoder.feed_forward.activation", ACTIVATIONS),
    Field("rms_norm_eps", "trunk.decoder.norm.epsilon"),
    Field("max_position_embeddings", "config.context"),
    Field("vocab_size", "tokenizer.vocabulary_size"),
    Told({"bos_token_id": "start_id", "eos_token_id": "end_id"}),
    Fixed("trunk.decoder.causal", True),
    Fixed("trunk.decoder.norm.kind", "rms"),
    Fixed("trunk.decoder.feed_forward.gated", True),
    Field("num_key_value_heads", f"{ATTENTION}.key_value_heads"),
    Field("intermediate_size", "trunk.decoder.feed_forward.width"),
    Field("head_dim", f"{ATTENTION}.head_width"),
    ROTARY,
)
BIASES = (Field("attention_bias", (f"{ATTENTION}.bias", f"{ATTENTION}.output_bias")),)
NO_INNER_BIAS = Fixed("trunk.decoder.feed_forward.bias", False)
WINDOW = Computed(_window, _sliding)


def _biases(*, of_query_key_value: bool) -> tuple[Row, ...]:
    return (Fixed(f"{ATTENTION}.bias", of_query_key_value), Fixed(f"{ATTENTION}.output_bias", False))


@dataclass(frozen=True)
class Variant:
    """What tells a family from the others."""

    rows: tuple[Row, ...]
    assumed: Mapping[str, Any]
    bias: bool | None = None
    """Of query, key and value, the output having none. None: of all four, as `attention_bias` says."""
    inner_bias: bool = False
    """The feed-forward layer has biases where `mlp_bias` says so."""
    head_norms: bool = False


VARIANTS = {
    "llama": Variant((*BIASES, Field("mlp_bias", "trunk.decoder.feed_forward.bias")), ASSUMED, inner_bias=True),
    "mistral": Variant(
        (*_biases(of_query_key_value=False), NO_INNER_BIAS, Field("sliding_window", f"{ATTENTION}.window")),
        ASSUMED | MISTRAL, bias=False,
    ),
    "qwen2": Variant((*_biases(of_query_key_value=True), NO_INNER_BIAS, WINDOW), ASSUMED | QWEN, bias=True),
    "qwen3": Variant(
        (*BIASES, NO_INNER_BIAS, Fixed(f"{ATTENTION}.query_key_norm", "rms"), WINDOW),
        ASSUMED | QWEN | {"head_dim": 128}, head_norms=True,
    ),
}  # fmt: skip


def weights(variant: Variant, theirs: Theirs) -> Iterator[Step]:
    """The embedding and the blocks of a variant."""
    yield same("embed_tokens.weight", "embedding.streams.target.table.weight")
    output = variant.bias is None and theirs["attention_bias"]
    inner = variant.inner_bias and theirs["mlp_bias"]
    for index in range(theirs["num_hidden_layers"]):
        their, our = f"layers.{index}", f"trunk.decoder.blocks.{index}"
        yield from linear(f"{their}.input_layernorm", f"{our}.attention_residual.norm", bias=False)
        for letter, name in {"q": "query", "k": "key", "v": "value"}.items():
            yield from linear(f"{their}.self_attn.{letter}_proj", f"{our}.attention.{name}", variant.bias or output)
        yield from linear(f"{their}.self_attn.o_proj", f"{our}.attention.output", output)
        if variant.head_norms:
            yield same(f"{their}.self_attn.q_norm.weight", f"{our}.attention.query_norm.weight")
            yield same(f"{their}.self_attn.k_norm.weight", f"{our}.attention.key_norm.weight")
        yield from kept(f"{their}.self_attn.rotary_emb.inv_freq")
        yield from linear(f"{their}.post_attention_layernorm", f"{our}.feed_forward_residual.norm", bias=False)
        for name in ("gate", "up", "down"):
            yield from linear(f"{their}.mlp.{name}_proj", f"{our}.feed_forward.{name}", inner)
    yield same("norm.weight", "trunk.decoder.final_norm.weight")


def language_model(task: str) -> Architecture:
    """`LlamaForCausalLM`, `Qwen3ForCausalLM` and so on: the next token, tied to the table or not."""
    rows = (Field("tie_word_embeddings", "config.tied"), Fixed("config.bias", False), Fixed("config.scale", 1.0))
    return Architecture(task, rows, vocabulary)


def family(id: str, architectures: Mapping[str, Architecture], tokenizer: str) -> Family:
    """One of `VARIANTS` as a family."""
    variant = VARIANTS[id]
    return Family(
        {"model_type": id}, (*FIELDS, *variant.rows), partial(weights, variant), architectures, tokenizer, "model.",
        variant.assumed,
    )  # fmt: skip
