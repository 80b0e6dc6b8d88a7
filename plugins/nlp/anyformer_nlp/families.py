"""The checkpoint layouts of text models, bound to the tasks they serve."""

from __future__ import annotations

from typing import Any

from anyformer.families import Family, bert, gpt2, llama, problems, roberta, t5
from anyformer.families.fields import Only
from anyformer_nlp import bart, distilbert

TOKENIZER = "nlp/pretrained"
OF_A_TEXT = {
    problems.SINGLE: "nlp/text-classification",
    problems.MULTI: "nlp/multilabel-classification",
    problems.REGRESSION: "nlp/text-regression",
}


def _encoder(kind: str, name: str, layout: Any, *more: Any) -> Family:
    """BERT or one of its kin: a module that has a function for each of its five classes."""
    classes = {
        "Model": layout.encoder("nlp/text-embedding"),
        "ForMaskedLM": layout.masked("nlp/fill-mask"),
        "ForSequenceClassification": layout.sequence(OF_A_TEXT),
        "ForTokenClassification": layout.token("nlp/token-classification"),
        "ForQuestionAnswering": layout.span("nlp/question-answering"),
    }
    architectures = {f"{name}{end}": architecture for end, architecture in classes.items()} | dict(more)
    return Family(
        {"model_type": kind},
        layout.FIELDS,
        layout.weights,
        architectures,
        TOKENIZER,
        f"{kind}.",
        layout.ASSUMED,
        bert.ALIASES,
    )


BERT = _encoder("bert", "Bert", bert, ("BertForPreTraining", bert.masked("nlp/fill-mask")))
ROBERTA = _encoder("roberta", "Roberta", roberta)
DISTILBERT = _encoder("distilbert", "DistilBert", distilbert)
GPT2 = Family(
    {"model_type": "gpt2"}, gpt2.FIELDS, gpt2.weights, {"GPT2LMHeadModel": gpt2.language_model("nlp/text-generation")},
    TOKENIZER, "transformer.", gpt2.ASSUMED,
)  # fmt: skip
LLAMAS = {
    id: llama.family(id, {f"{name}ForCausalLM": llama.language_model("nlp/text-generation")}, TOKENIZER)
    for id, name in {"llama": "Llama", "mistral": "Mistral", "qwen2": "Qwen2", "qwen3": "Qwen3"}.items()
}
T5 = {
    id: Family(
        {"model_type": id}, (*t5.FIELDS, Only("chronos_config", None)), t5.weights, {
            f"{name}ForConditionalGeneration": t5.conditional("nlp/translation"),
        }, TOKENIZER, "", assumed,
    )
    for id, name, assumed in (("t5", "T5", t5.ASSUMED), ("mt5", "MT5", t5.MT5))
}  # fmt: skip
BART = Family(
    {"model_type": "bart"}, bart.BART, bart.weights(), {
        "BartForConditionalGeneration": bart.conditional("nlp/translation"),
    }, TOKENIZER, "model.", bart.ASSUMED, generation=bart.GENERATION,
)  # fmt: skip
MBART = Family(
    {"model_type": "mbart"}, bart.MBART, bart.weights(final=True), {
        "MBartForConditionalGeneration": bart.conditional("nlp/translation"),
    }, TOKENIZER, "model.", bart.MBART_ASSUMED, generation=bart.GENERATION,
)  # fmt: skip
MARIAN = Family(
    {"model_type": "marian"}, bart.MARIAN, bart.weights(sinusoidal=True), {
        "MarianMTModel": bart.conditional("nlp/translation"),
    }, TOKENIZER, "model.", bart.MARIAN_ASSUMED, generation=bart.GENERATION,
)  # fmt: skip

FAMILIES = {
    "bert": BERT,
    "roberta": ROBERTA,
    "distilbert": DISTILBERT,
    "gpt2": GPT2,
    **LLAMAS,
    **T5,
    "bart": BART,
    "mbart": MBART,
    "marian": MARIAN,
}
