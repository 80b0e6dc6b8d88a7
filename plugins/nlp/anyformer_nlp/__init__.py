"""Language for anyformer.

| task                          | from -> to                      | built from                           |
|-------------------------------|---------------------------------|--------------------------------------|
| nlp/fill-mask                 | a text, marks -> tokens there   | encoder, heads.LanguageModel         |
| nlp/multilabel-classification | a text -> labels, probabilities | encoder, heads.MultiLabel            |
| nlp/question-answering        | a question, a text -> its piece | encoder, heads.Span                  |
| nlp/text-classification       | a text -> label, probabilities  | encoder, heads.Classifier            |
| nlp/text-embedding            | a text -> a vector, similarity  | encoder, heads.Pooled                |
| nlp/text-generation           | a prompt -> what follows it     | decoder, heads.LanguageModel         |
| nlp/text-regression           | a text -> a number              | encoder, heads.Regression            |
| nlp/token-classification      | a text -> a tag for each word   | encoder, heads.TokenClassifier       |
| nlp/translation               | a text -> its translation       | encoder-decoder, heads.LanguageModel |

| tokenizer      | ids are                                       | learns                      |
|----------------|-----------------------------------------------|-----------------------------|
| nlp/bpe        | pieces of words, over bytes: nothing unknown  | merges from a corpus        |
| nlp/bytes      | bytes of UTF-8                                | nothing                     |
| nlp/pretrained | those of a published checkpoint               | nothing: it reads its files |
| nlp/words      | words and marks, one id for all unknown ones  | a list from a corpus        |

| preset            | what it is                                                                             |
|-------------------|----------------------------------------------------------------------------------------|
| nlp/bert-*        | BERT (Devlin et al. 2019), base and large                                              |
| nlp/gpt2-*        | GPT-2 (Radford et al. 2019) of 124m, 355m, 774m and 1558m weights                      |
| nlp/gpt3-*        | GPT-3 (Brown et al. 2020) of 125m, 350m, 760m, 1.3b, 2.7b, 6.7b, 13b and 175b          |
| nlp/llama-65b     | Llama (Touvron et al. 2023)                                                            |
| nlp/llama2-*      | Llama 2 (Touvron et al. 2023) of 7b, 13b and 70b                                       |
| nlp/llama3*       | Llama 3 (Grattafiori et al. 2024): llama3-8b, -70b and -405b, llama3.2-1b and -3b      |
| nlp/mt-nlg-530b   | Megatron-Turing NLG (Smith et al. 2022)                                                |
| nlp/nanogpt*      | nanoGPT's models of letters (Karpathy 2022): nanogpt and nanogpt-cpu                   |
| nlp/palm-*        | PaLM (Chowdhery et al. 2022) of 8b, 62b and 540b                                       |
| nlp/t5-*          | T5 (Raffel et al. 2020): small, base, large, 3b, 11b; v1.1-small to -xxl               |
| nlp/transformer-* | the Transformer (Vaswani et al. 2017): base, big, and a tiny one for Multi30k          |
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from anyformer import TaskSpec, TokenizerSpec, hookimpl


@hookimpl
def anyformer_tasks() -> Mapping[str, TaskSpec]:
    """What a user can ask for."""
    return {
        "fill-mask": TaskSpec(
            "anyformer_nlp.fill_mask:FillMask", "a text with marks to the tokens that may stand for them"
        ),
        "multilabel-classification": TaskSpec(
            "anyformer_nlp.multilabel_classification:MultilabelClassification",
            "a text to those of the labels that apply to it, none or many",
        ),
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
        "text-regression": TaskSpec("anyformer_nlp.text_regression:TextRegression", "a text to a number"),
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
    """Published models."""
    from anyformer_nlp.presets import PRESETS

    return PRESETS


@hookimpl
def anyformer_readers() -> Mapping[str, str]:
    """Tagged words of the CoNLL shared tasks."""
    return {".conll": "anyformer_nlp.conll:conll"}
