"""Language for anyformer.

| task                     | from -> to                      | built from                           |
|--------------------------|---------------------------------|--------------------------------------|
| nlp/fill-mask            | a text, marks -> tokens there   | encoder, heads.LanguageModel         |
| nlp/question-answering   | a question, a text -> its piece | encoder, heads.Span                  |
| nlp/text-classification  | a text -> label, probabilities  | encoder, heads.Classifier            |
| nlp/text-embedding       | a text -> a vector, similarity  | encoder, heads.Pooled                |
| nlp/text-generation      | a prompt -> what follows it     | decoder, heads.LanguageModel         |
| nlp/token-classification | a text -> a tag for each word   | encoder, heads.TokenClassifier       |
| nlp/translation          | a text -> its translation       | encoder-decoder, heads.LanguageModel |

| tokenizer      | ids are                                       | learns                      |
|----------------|-----------------------------------------------|-----------------------------|
| nlp/bpe        | pieces of words, over bytes: nothing unknown  | merges from a corpus        |
| nlp/bytes      | bytes of UTF-8                                | nothing                     |
| nlp/pretrained | those of a published checkpoint               | nothing: it reads its files |
| nlp/words      | words and marks, one id for all unknown ones  | a list from a corpus        |

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
        "fill-mask": TaskSpec("anyformer_nlp.fill_mask:FillMask", "a text with marks to the tokens that may stand for them"),
        "question-answering": TaskSpec(
            "anyformer_nlp.question_answering:QuestionAnswering",
            "a question and a text to the piece of the text that answers it",
        ),
        "text-classification": TaskSpec(
            "anyformer_nlp.text_classification:TextClassification", "a text to one of the labels seen in training"
        ),
        "text-embedding": TaskSpec(
            "anyformer_nlp.text_embedding:TextEmbedding", "a text to a vector, and how alike two texts are"
        ),
        "text-generation": TaskSpec("anyformer_nlp.text_generation:TextGeneration", "a prompt to what follows it"),
        "token-classification": TaskSpec(
            "anyformer_nlp.token_classification:TokenClassification", "a tag for each word of a text, and its entities"
        ),
        "translation": TaskSpec("anyformer_nlp.translation:Translation", "a text to its translation"),
    }


@hookimpl
def anyformer_tokenizers() -> Mapping[str, TokenizerSpec]:
    """How text becomes ids."""
    return {
        "bpe": TokenizerSpec("anyformer_nlp.tokenizers:Bpe", "byte-pair encoding over bytes, learned from a corpus"),
        "bytes": TokenizerSpec("anyformer_nlp.tokenizers:Bytes", "bytes of UTF-8, nothing to learn"),
        "pretrained": TokenizerSpec(
            "anyformer_nlp.pretrained:Pretrained", "the tokenizer of a published checkpoint, read with it"
        ),
        "words": TokenizerSpec("anyformer_nlp.words:Words", "words of a small corpus, one id for all others"),
    }


@hookimpl
def anyformer_families() -> Mapping[str, Any]:
    """Checkpoint layouts."""
    from anyformer_nlp.families import FAMILIES

    return FAMILIES


@hookimpl
def anyformer_presets() -> Mapping[str, Callable[[], Any]]:
    """Trunks of published models."""
    from anyformer_nlp import presets

    return {"gpt2-124m": presets.gpt2_124m, "bert-base": presets.bert_base}


@hookimpl
def anyformer_readers() -> Mapping[str, str]:
    """Tagged words of the CoNLL shared tasks."""
    return {".conll": "anyformer_nlp.conll:conll"}
