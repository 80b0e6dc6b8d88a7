"""Pretraining without labels, over any tokenizer: a page for each objective.

| objective       | trunk           | hides                                                   | learns                   |
|-----------------|-----------------|---------------------------------------------------------|--------------------------|
| next-token      | decoder         | what comes after                                        | each token               |
| masked-token    | encoder         | tokens, units or spans (BERT, SpanBERT)                 | the hidden tokens        |
| span-corruption | encoder-decoder | spans, each behind one token (T5)                       | the hidden spans         |
| denoising       | encoder-decoder | spans, how long they were and the order of segments (BART) | the whole sequence    |
| masked-patch    | encoder         | patches, which the encoder never sees (MAE)             | the hidden patches       |
"""

from __future__ import annotations

from anyformer.objectives.denoising import Denoising
from anyformer.objectives.items import raw_item
from anyformer.objectives.masked_patch import MaskedPatch
from anyformer.objectives.masked_token import MaskedToken
from anyformer.objectives.next_token import NextToken
from anyformer.objectives.span_corruption import SpanCorruption
from anyformer.task import Objective

__all__ = ["OBJECTIVES", "Denoising", "MaskedPatch", "MaskedToken", "NextToken", "SpanCorruption", "raw_item"]

OBJECTIVES: dict[str, type[Objective]] = {
    "next-token": NextToken,
    "masked-token": MaskedToken,
    "span-corruption": SpanCorruption,
    "denoising": Denoising,
    "masked-patch": MaskedPatch,
}
