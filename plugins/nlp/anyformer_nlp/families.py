"""The checkpoint layouts of text models, bound to the tasks they serve."""

from __future__ import annotations

from anyformer.families import Family, bert

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

FAMILIES = {"bert": BERT}
