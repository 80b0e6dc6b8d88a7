"""Sums of loss over step denominators: however a step is cut into micro-packs, it gives the gradient of the whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

from anyformer.heads import Classifier, LanguageModel, Quantile, TokenClassifier
from anyformer.nn import Component, Head, Model, Pack, Part, Parts, build, config
from anyformer.task import Objective, Tokenizer

RECORDS, WIDTH, VOCABULARY, PATCHES, HORIZON = 32, 12, 10, 4, 3
CUTS = {"4 x 8": [8] * 4, "32 x 1": [1] * 32, "uneven": [1, 13, 2, 16]}

Record = tuple[dict[str, Tensor], dict[str, Tensor]]


def records_of(target: str) -> list[Record]:
    """Sequences of 1 to 9 tokens; about a third of the labels are missing, all of them in some records."""
    torch.manual_seed(0)
    records = []
    for index in range(RECORDS):
        length = PATCHES if target == "values" else int(torch.randint(1, 10, ()))
        labels = torch.randint(VOCABULARY, (1 if target == "label" else length,))
        hidden = torch.rand(labels.shape) < (1 if index % 7 == 3 else 0.3)
        values = torch.randn(HORIZON).where(torch.rand(HORIZON) > 0.3, torch.nan)
        targets = {target: values if target == "values" else labels.where(~hidden, -100)}
        part = "target" if target == "labels" else "source"
        records.append(({part: torch.randint(VOCABULARY, (length,))}, targets))
    return records


def model_of(head: Head, causal: bool) -> Model:
    stack = config.Stack(width=WIDTH, depth=2, causal=causal, attention=config.Attention(heads=2))
    trunk = config.Trunk(decoder=stack) if causal else config.Trunk(encoder=stack)
    tokenizer = Tokenizer(Tokenizer.Config())
    tokenizer.vocabulary_size = VOCABULARY
    component = Component(Objective(None, tokenizer), build.embedding_for(trunk, {"text": tokenizer}), head)
    return Model(build.trunk(trunk), {"task": component}).double()


def collate(items: Sequence[dict[str, Tensor]]) -> Parts:
    return {
        name: Part(torch.cat([item[name] for item in items]), Pack.of([len(item[name]) for item in items]))
        for name in items[0]
    }


def gradient(model: Model, records: list[Record], cut: list[int]) -> Tensor:
    packs, start = [], 0
    for size in cut:
        chosen = records[start : start + size]
        packs.append((collate([parts for parts, _ in chosen]), collate([targets for _, targets in chosen])))
        start += size
    total = sum(model["task"].head.weigh(targets)["loss"] for _, targets in packs)
    model.zero_grad()
    for parts, targets in packs:
        (model(parts, targets, "task")["loss"] / total).backward()
    return torch.cat([weight.grad.flatten() for weight in model.parameters()])


HEADS = {
    "classifier": (lambda: Classifier(WIDTH, VOCABULARY, hidden="tanh", smoothing=0.1), "label"),
    "token classifier": (lambda: TokenClassifier(WIDTH, VOCABULARY, stream="target"), "labels"),
    "language model": (lambda: LanguageModel(WIDTH, VOCABULARY, smoothing=0.1), "labels"),
    "quantile": (lambda: Quantile(WIDTH, HORIZON, [0.1, 0.5, 0.9], PATCHES), "values"),
}


@pytest.mark.parametrize("case", HEADS.values(), ids=HEADS)
def test_any_cut_gives_the_gradient_of_the_whole_step(case: tuple, unit_scale: Callable, relative: Callable) -> None:
    make, target = case
    model, records = model_of(make(), causal=target == "labels"), records_of(target)
    unit_scale(model)
    whole = gradient(model, records, [RECORDS])
    for cut in CUTS.values():
        assert relative(gradient(model, records, cut), whole) <= 1e-10


def test_averages_of_averages_are_another_gradient(unit_scale: Callable, relative: Callable) -> None:
    """The common way is wrong by far more than rounding, so that the test above can tell."""
    model, records = model_of(TokenClassifier(WIDTH, VOCABULARY, stream="target"), causal=True), records_of("labels")
    unit_scale(model)
    whole = gradient(model, records, [RECORDS])
    parts = [gradient(model, records[start : start + 8], [8]) / 4 for start in range(0, RECORDS, 8)]
    assert relative(sum(parts), whole) > 1e-2
