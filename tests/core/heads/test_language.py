from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F

from anyformer.heads import LanguageModel
from anyformer.nn import Component, Pack, Part, Stream, build, config
from anyformer.task import Objective, Tokenizer

WIDTH, VOCABULARY = 6, 9
LENGTHS = [4, 3]
LABELS = torch.tensor([3, -100, 8, 0, -100, -100, 5])


def component_of(tied: bool, **trunk: config.Stack) -> Component:
    tokenizer = Tokenizer(Tokenizer.Config())
    tokenizer.vocabulary_size = VOCABULARY
    head = LanguageModel(WIDTH, VOCABULARY, tied=tied)
    embedding = build.embedding_for(config.Trunk(**trunk), {"text": tokenizer})
    return Component(Objective(None, tokenizer), embedding, head)


def stack(**fields: object) -> config.Stack:
    return config.Stack.model_validate({"width": WIDTH, "depth": 1, "attention": {"heads": 1}, **fields})


def streams_of(name: str = "target") -> dict[str, Stream]:
    x_TD = torch.randn(sum(LENGTHS), WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return {name: Stream(x_TD.requires_grad_(), Pack.of(LENGTHS))}


def test_only_labelled_tokens_are_projected_and_the_loss_is_the_same(relative: Callable) -> None:
    head = LanguageModel(WIDTH, VOCABULARY, tied=False, smoothing=0.1, bias=True).double()
    rows = []
    head.output.register_forward_hook(lambda _, inputs, output: rows.append(len(output)))
    streams, targets = streams_of(), {"labels": Part(LABELS, Pack.of(LENGTHS))}
    found = head.loss(streams, targets)["loss"]
    assert rows == [4]
    everywhere = head.output(streams["target"].x_TD)
    true = F.cross_entropy(everywhere, LABELS, reduction="sum", label_smoothing=0.1)
    assert relative(found, true) <= 1e-14
    assert head.weigh(targets)["loss"] == 4
    grads = [torch.autograd.grad(loss, [streams["target"].x_TD, head.output.weight]) for loss in (found, true)]
    for grad, true_grad in zip(*grads, strict=True):
        assert relative(grad, true_grad) <= 1e-13


def test_all_labelled_and_none_labelled(relative: Callable) -> None:
    head = LanguageModel(WIDTH, VOCABULARY, tied=False).double()
    streams = streams_of()
    labels = LABELS.clamp(min=0)
    found = head.loss(streams, {"labels": Part(labels, Pack.of(LENGTHS))})["loss"]
    assert relative(found, F.cross_entropy(head(streams), labels, reduction="sum")) <= 1e-14
    none = {"labels": Part(torch.full_like(LABELS, -100), Pack.of(LENGTHS))}
    loss = head.loss(streams, none)["loss"]
    loss.backward()
    assert (loss, head.weigh(none)["loss"]) == (0, 0)
    assert not head.output.weight.grad.any()


def test_tied_weights_are_one_tensor() -> None:
    tied = component_of(True, decoder=stack(causal=True))
    assert tied.head.output.weight is tied.embedding.streams["target"].table.weight
    assert len(list(tied.parameters())) == 1
    both = component_of(True, encoder=stack(), decoder=stack(causal=True, cross=True))
    tables = [both.embedding.streams[name].table.weight for name in ("source", "target")]
    assert both.head.output.weight is tables[0]
    assert both.head.output.weight is tables[1]
    apart = component_of(False, decoder=stack(causal=True))
    assert apart.head.output.weight is not apart.embedding.streams["target"].table.weight
    assert len(list(apart.parameters())) == 2


def test_predictions_are_split_by_sequence() -> None:
    head = LanguageModel(WIDTH, VOCABULARY, stream="source", tied=False).double()
    streams = streams_of("source")
    with torch.no_grad():
        output = head(streams)
        found = head.split(output, streams)
        assert [prediction.values["logits"].shape for prediction in found] == [(4, VOCABULARY), (3, VOCABULARY)]
        assert torch.equal(torch.from_numpy(found[1].values["logits"]), output[4:].float())
        torch.testing.assert_close(head(streams, streams["source"].pack.last_B), output[[3, 6]])
