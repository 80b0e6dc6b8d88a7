"""A trunk to a whole model: the task it is made for, and a vocabulary of the published size."""

from __future__ import annotations

from typing import Any

from anyformer.nn.config import Stack, Trunk
from anyformer.preset import Preset


def language_model(stack: Stack, vocabulary_size: int, context: int, tied: bool = True) -> Preset:
    """A decoder that goes on with a text; `tied`: words are scored by the vectors that stand for them in the input."""
    config = {"context": context, "tied": tied}
    return _preset(Trunk(decoder=stack), "nlp/text-generation", config, vocabulary_size)


def sequence_to_sequence(encoder: Stack, vocabulary_size: int, **config: Any) -> Preset:
    """An encoder and a causal decoder like it that attends to it; `config`: fields of `nlp/translation`."""
    decoder = encoder.model_copy(update={"causal": True, "cross": True})
    return _preset(Trunk(encoder=encoder, decoder=decoder), "nlp/translation", config, vocabulary_size)


def _preset(trunk: Trunk, task: str, config: dict[str, Any], vocabulary_size: int) -> Preset:
    return Preset(
        trunk=trunk, task=task, config=config, tokenizer="nlp/pretrained",
        tokenizer_config={"vocabulary_size": vocabulary_size},
    )  # fmt: skip
