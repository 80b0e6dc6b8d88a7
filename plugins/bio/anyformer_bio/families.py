"""The checkpoint layouts of protein models: ESM-2 (Lin et al. 2023, https://www.science.org/doi/10.1126/science.ade2574),
and ESM-1b and ESM-1v before it, an encoder with the norm before each half block.

* ESM-2 has rotary positions, whose frequencies come from the file: the published ones were rounded to half precision when
  the models were trained. ESM-1b has a learned table, which begins after the row of the padding id.
* Files of before transformers 5 have the frequencies in each block; those of after, once under a key with an asterisk.
* The regression on attention maps that predicts contacts stands with the body, whatever the file's head is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from anyformer.families import (
    Architecture,
    Computed,
    Family,
    Field,
    Fixed,
    Only,
    bert,
    kept,
    linear,
    problems,
    same,
    tied,
)
from anyformer.families.fields import Ours, Row, Theirs
from anyformer.families.steps import Step
from anyformer_bio.esm_tokenizer import Esm

POSITION = "trunk.encoder.position"
FREQUENCIES = "rotary_embeddings.inv_freq"
ALIASES = (
    *((f"encoder.layer.{block}.attention.self.{FREQUENCIES}", FREQUENCIES) for block in "0*"),
    *bert.ALIASES,
)
MASKED_IN_TRAINING = 0.15 * 0.8
"""Share of mask tokens that the models were trained with."""


def _positions(theirs: Theirs) -> Mapping[str, Any]:
    kind, rows, padding = (
        theirs[key] for key in ("position_embedding_type", "max_position_embeddings", "pad_token_id")
    )
    if kind == "rotary":
        return {f"{POSITION}.kind": "rotary", f"{POSITION}.base": theirs["rope_theta"], f"{POSITION}.stored": True}
    if kind != "absolute":
        raise ValueError(f"'position_embedding_type' is {kind!r}; supported: 'rotary', 'absolute'")
    if type(rows) is not int or type(padding) is not int or not 0 <= padding < rows - 1:
        raise ValueError(
            f"'pad_token_id' is {padding!r} and 'max_position_embeddings' {rows!r}; positions begin after the first, so it "
            "must be a number from 0, and the second greater by two or more"
        )
    return {f"{POSITION}.kind": "learned", f"{POSITION}.length": rows - padding - 1, f"{POSITION}.offset": padding + 1}


def _said(ours: Ours) -> Mapping[str, Any]:
    position = ours["trunk"]["encoder"]["position"]
    if position["kind"] == "rotary":
        return {"position_embedding_type": "rotary", "rope_theta": position["base"]}
    rows = position["length"] + position["offset"]
    return {
        "position_embedding_type": "absolute", "max_position_embeddings": rows, "pad_token_id": position["offset"] - 1,
    }  # fmt: skip


ASSUMED = {
    "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072,
    "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1, "max_position_embeddings": 1026, "rope_theta": 10000.0,
    "layer_norm_eps": 1e-12, "position_embedding_type": "absolute", "emb_layer_norm_before": None, "token_dropout": False,
    "tie_word_embeddings": True, "pad_token_id": 1,
}  # fmt: skip
FIELDS: tuple[Row, ...] = (
    Field("hidden_size", "trunk.encoder.width"),
    Field("num_hidden_layers", "trunk.encoder.depth"),
    Field("num_attention_heads", "trunk.encoder.attention.heads"),
    Field("attention_probs_dropout_prob", "trunk.encoder.attention.dropout"),
    Field("intermediate_size", "trunk.encoder.feed_forward.width"),
    Field("hidden_dropout_prob", "trunk.encoder.dropout"),
    Field("layer_norm_eps", "trunk.encoder.norm.epsilon"),
    Field("emb_layer_norm_before", "trunk.encoder.embedding.norm", {True: True, False: False, None: False}),
    Field(
        "token_dropout", "trunk.encoder.embedding.expected_masked", {True: MASKED_IN_TRAINING, False: None, None: None}
    ),
    Field("vocab_size", "tokenizer.vocabulary_size"),
    Computed(_positions, _said),
    Only("mask_token_id", Esm.mask_id),
    Only("is_decoder", False),
    Only("add_cross_attention", False),
    Only("is_folding_model", False),
)


def weights(theirs: Theirs) -> Iterator[Step]:
    """The embedding and the blocks."""
    token = "embedding.streams.source"
    yield same("embeddings.word_embeddings.weight", f"{token}.table.weight")
    if theirs["emb_layer_norm_before"]:
        yield from linear("embeddings.layer_norm", f"{token}.norm")
    yield from kept("embeddings.position_ids", "pooler.dense.weight", "pooler.dense.bias")
    rotary = theirs["position_embedding_type"] == "rotary"
    if rotary:
        yield from kept("embeddings.position_embeddings.weight")
        yield same(FREQUENCIES, "trunk.encoder.positions.frequencies")
    else:
        yield same("embeddings.position_embeddings.weight", f"{token}.positions.table.weight")
    for index in range(theirs["num_hidden_layers"]):
        their, our = f"encoder.layer.{index}", f"trunk.encoder.blocks.{index}"
        yield from linear(f"{their}.attention.LayerNorm", f"{our}.attention_residual.norm")
        for name in ("query", "key", "value"):
            yield from linear(f"{their}.attention.self.{name}", f"{our}.attention.{name}")
        if rotary and index:
            yield tied(f"{their}.attention.self.{FREQUENCIES}", "trunk.encoder.positions.frequencies")
        yield from linear(f"{their}.attention.output.dense", f"{our}.attention.output")
        yield from linear(f"{their}.LayerNorm", f"{our}.feed_forward_residual.norm")
        yield from linear(f"{their}.intermediate.dense", f"{our}.feed_forward.up")
        yield from linear(f"{their}.output.dense", f"{our}.feed_forward.down")
    yield from linear("encoder.emb_layer_norm_after", "trunk.encoder.final_norm")


def _vocabulary(theirs: Theirs) -> Iterator[Step]:
    """The head of `EsmForMaskedLM`."""
    yield from linear("lm_head.dense", "head.hidden")
    yield from linear("lm_head.layer_norm", "head.norm")
    yield same("lm_head.bias", "head.output.bias")
    if theirs["tie_word_embeddings"]:
        yield tied("lm_head.decoder.weight", "embedding.streams.source.table.weight")
    else:
        yield same("lm_head.decoder.weight", "head.output.weight")


def _number(theirs: Theirs) -> Iterator[Step]:
    """The head of `EsmForSequenceClassification`."""
    yield from linear("classifier.dense", "head.hidden")
    yield from problems.output(theirs, "classifier.out_proj")


def _no_contacts(theirs: Theirs) -> Iterator[Step]:
    return kept("contact_head.regression.weight", "contact_head.regression.bias")


ESM = Family(
    {"model_type": "esm"}, FIELDS, weights, {
        "EsmModel": Architecture(
            "bio/protein-embedding", (Fixed("config.values", 0),), body=_no_contacts, prefixed=False
        ),
        "EsmForMaskedLM": Architecture(
            "bio/fill-mask", (
                Fixed("config.hidden", "gelu"), Fixed("config.bias", True), Field("tie_word_embeddings", "config.tied"),
                Field("layer_norm_eps", ("trunk.encoder.norm.epsilon", "config.epsilon")),
            ), _vocabulary, _no_contacts,
        ),
        "EsmForSequenceClassification": problems.of_sequence(
            {problems.REGRESSION: "bio/protein-regression"},
            (Fixed("config.pooling", "first"), Fixed("config.hidden", "tanh")), _number, body=_no_contacts,
        ),
        "EsmContactPredictionHead": Architecture(
            "bio/contact-map", (Fixed("config.pair_width", 0),), prefixed=False,
            body=lambda theirs: linear("contact_head.regression", "head.regression"),
        ),
    }, "bio/esm", "esm.", ASSUMED, ALIASES,
)  # fmt: skip

FAMILIES = {"esm": ESM}
