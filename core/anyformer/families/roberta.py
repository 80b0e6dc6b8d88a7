"""RoBERTa (Liu et al. 2019, https://arxiv.org/abs/1907.11692): BERT's encoder, other positions and other heads.

* Positions begin after the row of the padding id: so many rows of the table nothing reads. ChemBERTa's files are the same.
* No head uses BERT's pooler; a file that has one keeps it.
* The layer before the vocabulary is always GELU, whatever the blocks have.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from anyformer.families import bert
from anyformer.families.family import Architecture
from anyformer.families.fields import Computed, Field, Fixed, Ours, Row, Theirs
from anyformer.families.problems import LABELS, of_sequence, output
from anyformer.families.steps import Step, kept, linear, same, tied

ASSUMED = bert.ASSUMED | {"vocab_size": 50265, "pad_token_id": 1}


def _positions(theirs: Theirs) -> Mapping[str, Any]:
    rows, padding = theirs["max_position_embeddings"], theirs["pad_token_id"]
    if type(rows) is not int or type(padding) is not int or not 0 <= padding < rows - 1:
        raise ValueError(
            f"'pad_token_id' is {padding!r} and 'max_position_embeddings' is {rows!r}; positions begin after the first, "
            "so it must be a number from 0, and the second greater by two or more"
        )
    length = rows - padding - 1
    position = "trunk.encoder.position"
    return {f"{position}.length": length, f"{position}.offset": padding + 1, "config.context": length}


def _rows(ours: Ours) -> Mapping[str, Any]:
    position = ours["trunk"]["encoder"]["position"]
    if position["offset"] < 1:
        raise ValueError("trunk.encoder.position.offset is 0; RoBERTa's positions begin after the row of a padding id")
    return {
        "pad_token_id": position["offset"] - 1, "max_position_embeddings": position["length"] + position["offset"],
    }  # fmt: skip


FIELDS: tuple[Row, ...] = (*bert.STACK, Computed(_positions, _rows))
weights = bert.weights


def _pooler(theirs: Theirs) -> Iterator[Step]:
    return kept("pooler.dense.weight", "pooler.dense.bias")


def encoder(task: str, *rows: Row) -> Architecture:
    """The bare model, `RobertaModel`: for a task whose head has no weights."""
    return Architecture(task, rows, body=_pooler, prefixed=False)


def masked(task: str) -> Architecture:
    """`RobertaForMaskedLM`: a masked token, tied to the table or not.

    The file names the vocabulary's bias twice. Tied, both are one; else the decoder's is used and the other is kept.
    """
    rows = (
        Fixed("config.bias", True), Fixed("config.hidden", "gelu"), Field("tie_word_embeddings", "config.tied"),
        Field("layer_norm_eps", ("trunk.encoder.norm.epsilon", "config.epsilon")),
    )  # fmt: skip

    def head(theirs: Theirs) -> Iterator[Step]:
        yield from linear("lm_head.dense", "head.hidden")
        yield from linear("lm_head.layer_norm", "head.norm")
        if theirs["tie_word_embeddings"]:
            yield same("lm_head.bias", "head.output.bias")
            yield tied("lm_head.decoder.bias", "head.output.bias")
            yield tied("lm_head.decoder.weight", "embedding.streams.source.table.weight")
        else:
            yield from linear("lm_head.decoder", "head.output")
            yield from kept("lm_head.bias")

    return Architecture(task, rows, head, body=_pooler)


def sequence(tasks: Mapping[str, str]) -> Architecture:
    """`RobertaForSequenceClassification`: a layer over the first token, and a label, several, or a number."""
    rows = (Fixed("config.pooling", "first"), Fixed("config.hidden", "tanh"))

    def head(theirs: Theirs) -> Iterator[Step]:
        yield from linear("classifier.dense", "head.hidden")
        yield from output(theirs, "classifier.out_proj")

    return of_sequence(tasks, rows, head, body=_pooler)


def token(task: str) -> Architecture:
    """`RobertaForTokenClassification`: a label for each token."""
    return Architecture(task, (LABELS,), lambda theirs: linear("classifier", "head.output"), body=_pooler)


def span(task: str) -> Architecture:
    """`RobertaForQuestionAnswering`: where an answer starts and ends."""
    return Architecture(task, (), lambda theirs: linear("qa_outputs", "head.output"), body=_pooler)
