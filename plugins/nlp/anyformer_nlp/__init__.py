"""Language for anyformer.

| task                     | from -> to                      | built from                           |
|--------------------------|---------------------------------|--------------------------------------|
| nlp/text-classification  | a text -> label, probabilities  | encoder, heads.Classifier            |
| nlp/translation          | a text -> its translation       | encoder-decoder, heads.LanguageModel |

| tokenizer | ids are                                       | learns               |
|-----------|-----------------------------------------------|----------------------|
| nlp/bpe   | pieces of words, over bytes: nothing unknown  | merges from a corpus |
| nlp/bytes | bytes of UTF-8                                | nothing              |
| nlp/words | words and marks, one id for all unknown ones  | a list from a corpus |

| preset         | trunk                                                    |
|----------------|----------------------------------------------------------|
| nlp/gpt2-124m  | decoder of GPT-2 small, 12 blocks of width 768           |
| nlp/bert-base  | encoder of BERT base, 12 blocks of width 768, post-norm  |
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from anyformer import TaskSpec, TokenizerSpec, hookimpl


@hookimpl
def anyformer_tasks() -> Mapping[str, TaskSpec]:
    """What a user can ask for."""
    return {
        "text-classification": TaskSpec(
            "anyformer_nlp.text_classification:TextClassification", "a text to one of the labels seen in training"
        ),
        "translation": TaskSpec("anyformer_nlp.translation:Translation", "a text to its translation"),
    }


@hookimpl
def anyformer_tokenizers() -> Mapping[str, TokenizerSpec]:
    """How text becomes ids."""
    return {
        "bpe": TokenizerSpec("anyformer_nlp.tokenizers:Bpe", "byte-pair encoding over bytes, learned from a corpus"),
        "bytes": TokenizerSpec("anyformer_nlp.tokenizers:Bytes", "bytes of UTF-8, nothing to learn"),
        "words": TokenizerSpec("anyformer_nlp.words:Words", "words of a small corpus, one id for all others"),
    }


@hookimpl
def anyformer_presets() -> Mapping[str, Callable[[], Any]]:
    """Trunks of published models."""
    from anyformer_nlp import presets

    return {"gpt2-124m": presets.gpt2_124m, "bert-base": presets.bert_base}
