"""The checkpoint layouts of text models, bound to the tasks they serve."""

from __future__ import annotations

from anyformer.families import Family, bert, gpt2, llama, roberta, t5
from anyformer.families.fields import Only
from anyformer_nlp import bart, distilbert

TOKENIZER = "nlp/pretrained"

BERT = Family(
    {"model_type": "bert"}, bert.FIELDS, bert.weights, {
        "BertModel": bert.encoder("nlp/text-embedding"),
        "BertForMaskedLM": bert.masked("nlp/fill-mask"),
        "BertForPreTraining": bert.masked("nlp/fill-mask"),
        "BertForSequenceClassification": bert.sequence("nlp/text-classification"),
        "BertForTokenClassification": bert.token("nlp/token-classification"),
        "BertForQuestionAnswering": bert.span("nlp/question-answering"),
    }, TOKENIZER, "bert.", bert.ASSUMED, bert.ALIASES,
)  # fmt: skip

ROBERTA = Family(
    {"model_type": "roberta"}, roberta.FIELDS, roberta.weights, {
        "RobertaModel": roberta.encoder("nlp/text-embedding"),
        "RobertaForMaskedLM": roberta.masked("nlp/fill-mask"),
        "RobertaForSequenceClassification": roberta.sequence("nlp/text-classification"),
        "RobertaForTokenClassification": roberta.token("nlp/token-classification"),
        "RobertaForQuestionAnswering": roberta.span("nlp/question-answering"),
    }, TOKENIZER, "roberta.", roberta.ASSUMED, bert.ALIASES,
)  # fmt: skip
DISTILBERT = Family(
    {"model_type": "distilbert"}, distilbert.FIELDS, distilbert.weights, {
        "DistilBertModel": distilbert.encoder("nlp/text-embedding"),
        "DistilBertForMaskedLM": distilbert.masked("nlp/fill-mask"),
        "DistilBertForSequenceClassification": distilbert.sequence("nlp/text-classification"),
        "DistilBertForTokenClassification": distilbert.token("nlp/token-classification"),
        "DistilBertForQuestionAnswering": distilbert.span("nlp/question-answering"),
    }, TOKENIZER, "distilbert.", distilbert.ASSUMED, bert.ALIASES,
)  # fmt: skip
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
