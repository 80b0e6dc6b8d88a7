"""BERT (Devlin et al. 2019, https://arxiv.org/abs/1810.04805): an encoder with the norm after each half block.

* The pooler is the hidden layer of the sequence classifier; other heads keep it for the way back.
* Old files call the norms' weights gamma and beta.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch

from anyformer.families.family import Architecture
from anyformer.families.fields import Field, Fixed, Only, Row, Theirs
from anyformer.families.problems import LABELS, of_sequence, output
from anyformer.families.steps import Step, constant, kept, linear, same, tied

ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
    "silu": "silu",
}
"""Their names of activations to ours."""
ALIASES = ((".gamma", ".weight"), (".beta", ".bias"))
ASSUMED = {
    "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072,
    "hidden_act": "gelu", "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1, "layer_norm_eps": 1e-12,
    "max_position_embeddings": 512, "type_vocab_size": 2, "vocab_size": 30522, "tie_word_embeddings": True,
}  # fmt: skip
STACK: tuple[Row, ...] = (
    Field("hidden_size", "trunk.encoder.width"),
    Field("num_hidden_layers", "trunk.encoder.depth"),
    Field("num_attention_heads", "trunk.encoder.attention.heads"),
    Field("attention_probs_dropout_prob", "trunk.encoder.attention.dropout"),
    Field("intermediate_size", "trunk.encoder.feed_forward.width"),
    Field("hidden_act", "trunk.encoder.feed_forward.activation", ACTIVATIONS),
    Field("hidden_dropout_prob", "trunk.encoder.dropout"),
    Field("type_vocab_size", "trunk.encoder.embedding.segments"),
    Field("layer_norm_eps", "trunk.encoder.norm.epsilon"),
    Field("vocab_size", "tokenizer.vocabulary_size"),
    Fixed("trunk.encoder.norm.place", "post"),
    Fixed("trunk.encoder.embedding.norm", True),
    Fixed("trunk.encoder.position.kind", "learned"),
    Only("position_embedding_type", "absolute"),
    Only("is_decoder", False),
)
FIELDS: tuple[Row, ...] = (*STACK, Field("max_position_embeddings", "trunk.encoder.position.length"))
HIDDEN = Field("hidden_act", ("trunk.encoder.feed_forward.activation", "config.hidden"), ACTIVATIONS)
CONTEXT = Field("max_position_embeddings", ("trunk.encoder.position.length", "config.context"))


def weights(theirs: Theirs) -> Iterator[Step]:
    """The embedding and the blocks."""
    token = "embedding.streams.source"
    yield same("embeddings.word_embeddings.weight", f"{token}.table.weight")
    yield same("embeddings.position_embeddings.weight", f"{token}.positions.table.weight")
    yield same("embeddings.token_type_embeddings.weight", f"{token}.segments.weight")
    yield from linear("embeddings.LayerNorm", f"{token}.norm")
    rows = theirs["max_position_embeddings"]
    yield constant("embeddings.position_ids", lambda: torch.arange(rows)[None])
    for index in range(theirs["num_hidden_layers"]):
        their, our = f"encoder.layer.{index}", f"trunk.encoder.blocks.{index}"
        for name in ("query", "key", "value"):
            yield from linear(f"{their}.attention.self.{name}", f"{our}.attention.{name}")
        yield from linear(f"{their}.attention.output.dense", f"{our}.attention.output")
        yield from linear(f"{their}.attention.output.LayerNorm", f"{our}.attention_residual.norm")
        yield from linear(f"{their}.intermediate.dense", f"{our}.feed_forward.up")
        yield from linear(f"{their}.output.dense", f"{our}.feed_forward.down")
        yield from linear(f"{their}.output.LayerNorm", f"{our}.feed_forward_residual.norm")


def _pooler(theirs: Theirs) -> Iterator[Step]:
    return kept("pooler.dense.weight", "pooler.dense.bias")


def encoder(task: str, *rows: Row) -> Architecture:
    """The bare model, `BertModel`: for a task whose head has no weights."""
    return Architecture(task, (CONTEXT, *rows), body=_pooler, prefixed=False)


def masked(task: str) -> Architecture:
    """`BertForMaskedLM`, and `BertForPreTraining`, whose next-sentence head is kept: a masked token, tied to the table."""
    rows = (
        CONTEXT, HIDDEN, Fixed("config.bias", True), Field("tie_word_embeddings", "config.tied"),
        Field("layer_norm_eps", ("trunk.encoder.norm.epsilon", "config.epsilon")),
    )  # fmt: skip

    def head(theirs: Theirs) -> Iterator[Step]:
        yield from linear("cls.predictions.transform.dense", "head.hidden")
        yield from linear("cls.predictions.transform.LayerNorm", "head.norm")
        if theirs["tie_word_embeddings"]:
            yield same("cls.predictions.bias", "head.output.bias")
            yield tied("cls.predictions.decoder.bias", "head.output.bias")
            yield tied("cls.predictions.decoder.weight", "embedding.streams.source.table.weight")
        else:
            yield from linear("cls.predictions.decoder", "head.output")
            yield from kept("cls.predictions.bias")
        yield from kept("cls.seq_relationship.weight", "cls.seq_relationship.bias")

    return Architecture(task, rows, head, body=_pooler)


def sequence(tasks: Mapping[str, str]) -> Architecture:
    """`BertForSequenceClassification`: the pooled first token, and a label, several, or a number."""
    rows = (CONTEXT, Fixed("config.pooling", "first"), Fixed("config.hidden", "tanh"))
    return of_sequence(
        tasks, rows, lambda theirs: output(theirs, "classifier"),
        body=lambda theirs: linear("pooler.dense", "head.hidden"),
    )  # fmt: skip


def token(task: str) -> Architecture:
    """`BertForTokenClassification`: a label for each token."""
    return Architecture(task, (CONTEXT, LABELS), lambda theirs: linear("classifier", "head.output"))


def span(task: str) -> Architecture:
    """`BertForQuestionAnswering`: where an answer starts and ends."""
    return Architecture(task, (CONTEXT,), lambda theirs: linear("qa_outputs", "head.output"))
