"""DistilBERT (Sanh et al. 2019, https://arxiv.org/abs/1910.01108): BERT's encoder without segments and pooler.

* Its norms have an epsilon that no key of the configuration says.
* Sinusoidal positions, where a file says so, are a start of training: the table is in the file like any other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch

from anyformer.families.bert import ACTIVATIONS
from anyformer.families.family import Architecture
from anyformer.families.fields import Field, Fixed, Row, Theirs
from anyformer.families.problems import LABELS, of_sequence, output
from anyformer.families.steps import Step, constant, linear, same, tied

EPSILON = 1e-12
ASSUMED = {
    "vocab_size": 30522, "max_position_embeddings": 512, "n_layers": 6, "n_heads": 12, "dim": 768, "hidden_dim": 3072,
    "dropout": 0.1, "attention_dropout": 0.1, "activation": "gelu", "tie_word_embeddings": True,
}  # fmt: skip
FIELDS: tuple[Row, ...] = (
    Field("dim", "trunk.encoder.width"),
    Field("n_layers", "trunk.encoder.depth"),
    Field("n_heads", "trunk.encoder.attention.heads"),
    Field("attention_dropout", "trunk.encoder.attention.dropout"),
    Field("hidden_dim", "trunk.encoder.feed_forward.width"),
    Field("activation", "trunk.encoder.feed_forward.activation", ACTIVATIONS),
    Field("dropout", "trunk.encoder.dropout"),
    Field("max_position_embeddings", ("trunk.encoder.position.length", "config.context")),
    Field("vocab_size", "tokenizer.vocabulary_size"),
    Fixed("trunk.encoder.position.kind", "learned"),
    Fixed("trunk.encoder.norm.place", "post"),
    Fixed("trunk.encoder.norm.epsilon", EPSILON),
    Fixed("trunk.encoder.embedding.norm", True),
)


def weights(theirs: Theirs) -> Iterator[Step]:
    """The embedding and the blocks."""
    token = "embedding.streams.source"
    yield same("embeddings.word_embeddings.weight", f"{token}.table.weight")
    yield same("embeddings.position_embeddings.weight", f"{token}.positions.table.weight")
    yield from linear("embeddings.LayerNorm", f"{token}.norm")
    rows = theirs["max_position_embeddings"]
    yield constant("embeddings.position_ids", lambda: torch.arange(rows)[None])
    for index in range(theirs["n_layers"]):
        their, our = f"transformer.layer.{index}", f"trunk.encoder.blocks.{index}"
        for name, own in {"q_lin": "query", "k_lin": "key", "v_lin": "value", "out_lin": "output"}.items():
            yield from linear(f"{their}.attention.{name}", f"{our}.attention.{own}")
        yield from linear(f"{their}.sa_layer_norm", f"{our}.attention_residual.norm")
        yield from linear(f"{their}.ffn.lin1", f"{our}.feed_forward.up")
        yield from linear(f"{their}.ffn.lin2", f"{our}.feed_forward.down")
        yield from linear(f"{their}.output_layer_norm", f"{our}.feed_forward_residual.norm")


def encoder(task: str, *rows: Row) -> Architecture:
    """The bare model, `DistilBertModel`: for a task whose head has no weights."""
    return Architecture(task, rows, prefixed=False)


def masked(task: str) -> Architecture:
    """`DistilBertForMaskedLM`: a masked token, tied to the table or not."""
    rows = (
        Field("activation", ("trunk.encoder.feed_forward.activation", "config.hidden"), ACTIVATIONS),
        Fixed("config.bias", True), Fixed("config.epsilon", EPSILON), Field("tie_word_embeddings", "config.tied"),
    )  # fmt: skip

    def head(theirs: Theirs) -> Iterator[Step]:
        yield from linear("vocab_transform", "head.hidden")
        yield from linear("vocab_layer_norm", "head.norm")
        yield same("vocab_projector.bias", "head.output.bias")
        if theirs["tie_word_embeddings"]:
            yield tied("vocab_projector.weight", "embedding.streams.source.table.weight")
        else:
            yield same("vocab_projector.weight", "head.output.weight")

    return Architecture(task, rows, head)


def sequence(tasks: Mapping[str, str]) -> Architecture:
    """`DistilBertForSequenceClassification`: a layer over the first token, and a label, several, or a number."""
    rows = (Fixed("config.pooling", "first"), Fixed("config.hidden", "relu"))

    def head(theirs: Theirs) -> Iterator[Step]:
        yield from linear("pre_classifier", "head.hidden")
        yield from output(theirs, "classifier")

    return of_sequence(tasks, rows, head)


def token(task: str) -> Architecture:
    """`DistilBertForTokenClassification`: a label for each token."""
    return Architecture(task, (LABELS,), lambda theirs: linear("classifier", "head.output"))


def span(task: str) -> Architecture:
    """`DistilBertForQuestionAnswering`: where an answer starts and ends."""
    return Architecture(task, (), lambda theirs: linear("qa_outputs", "head.output"))
