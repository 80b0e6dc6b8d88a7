"""The checkpoint layouts of text models, bound to the tasks they serve."""

from __future__ import annotations

from anyformer.families import Family, bert, gpt2, llama, roberta
from anyformer_nlp import distilbert

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

FAMILIES = {"bert": BERT, "roberta": ROBERTA, "distilbert": DISTILBERT, "gpt2": GPT2, **LLAMAS}
