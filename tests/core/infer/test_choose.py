"""Rules and filters against those of transformers, draws against their probabilities, and settings that contradict."""

from __future__ import annotations

import re
from math import inf
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from anyformer.infer.choose import filtered, likeliest, propose, repeating
from anyformer.infer.draft import Draft, Request
from anyformer.infer.options import Generation, answers
from anyformer.task import Prediction, Sample, explain


def draft(written: list[int], seed: int = 0, **notes: Any) -> Draft:
    sample = Sample({"target": np.array([1, 2])}, notes=notes)
    return Draft(Request.of(sample, Generation()), 0, written, rng=np.random.default_rng(seed))


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": 0.6}, {"top_k": 3}, {"top_k": 99}, {"top_p": 0.7}, {"top_p": 1e-6}, {"min_p": 0.2}, {"min_p": 1.0},
        {"temperature": 2.0, "top_k": 12, "top_p": 0.8, "min_p": 0.1},
    ],
)  # fmt: skip
def test_filters_equal_transformers(options: dict[str, Any]) -> None:
    warpers = pytest.importorskip("transformers.generation.logits_process")
    kinds = {
        "temperature": warpers.TemperatureLogitsWarper, "top_k": warpers.TopKLogitsWarper,
        "top_p": warpers.TopPLogitsWarper, "min_p": warpers.MinPLogitsWarper,
    }  # fmt: skip
    logits = torch.randn(40, 20, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2
    logits[:, 4] = -inf
    true = logits
    for name in kinds:  # in the order in which they are defined above
        if name in options:
            true = kinds[name](options[name])(None, true)
    found = filtered(logits.clone(), Generation(sample=True, **options))
    assert torch.equal(found, true)


def test_draws_follow_the_probabilities() -> None:
    """Twenty thousand draws of four ids, one of them impossible, each from a generator of its own."""
    chances = torch.tensor([0.0, 0.5, 0.2, 0.3, 0.0])
    drafts = [draft([], seed) for seed in range(20_000)]
    found = propose(chances.log().repeat(len(drafts), 1), drafts, Generation(sample=True), 1)
    counts = np.bincount([token for ((_, token),) in found], minlength=5) / len(drafts)
    assert counts[0] == counts[4] == 0
    np.testing.assert_allclose(counts, chances, atol=0.012)


def test_rules_of_each_draft() -> None:
    """Drafts of one batch with notes of their own; a forced id goes before all, an end outside the vocabulary is none."""
    drafts = [
        draft([2, 5, 2], suppressed=[0], end=[4, 99]),
        draft([3], forced={1: 4}, suppressed=[4]),
        draft([3] * 4, forced={-1: 5}, max_new_tokens=5),
        draft([], end=-1),
    ]
    logits = torch.tensor([[6.0, 5.0, 4.0, -1.0, 2.0, 1.0]]).repeat(4, 1)
    options = Generation(num_beams=2, no_repeat_ngram_size=2, min_new_tokens=4)
    found = propose(logits.clone(), drafts, options, 6)
    allowed = [{token for score, token in row if score > -inf} for row in found]
    # After 1 2, 2 5 2 neither 2 nor 5 may come; no end may, as four tokens are not written.
    assert allowed == [{1, 3}, {4}, {5}, {0, 1, 2, 3, 4, 5}]
    assert (found[1][0], found[2][0]) == ((0.0, 4), (0.0, 5))
    assert found[3][0][0] == pytest.approx(float(logits[3].log_softmax(0)[0]))


def test_half_precision_is_widened() -> None:
    """Two log probabilities that bfloat16 cannot tell apart."""
    logits = torch.tensor([[100.0, 99.5, 0.0]], dtype=torch.bfloat16)
    ((first, second, _),) = propose(logits, [draft([])], Generation(num_beams=2), 3)
    assert first[0] - second[0] == pytest.approx(0.5, abs=1e-6)
    assert first[0] == pytest.approx(-0.474077, abs=1e-5)


@pytest.mark.parametrize("size", [5, 64 * 8 * 6, 64 * 8 * 6 + 31])
def test_likeliest_of_chunks(size: int) -> None:
    """Many of the best in one chunk, one beyond the last whole chunk, and ids that are forbidden."""
    scores = torch.randn(7, size, generator=torch.Generator().manual_seed(0))
    scores[:3, 1:4] += 9
    scores[2:5, -1] = 20
    scores[5, 2:] = -inf
    values, ids = likeliest(scores, 5)
    true = scores.topk(5)
    assert torch.equal(values, true.values)
    assert torch.equal(scores.gather(1, ids), values)
    assert all(len(set(row)) == 5 for row in ids.tolist())


def test_repeating() -> None:
    ids = np.array([1, 2, 3, 1, 2, 4, 1, 2])
    assert repeating(ids, 3).tolist() == [3, 4]
    assert repeating(ids, 2).tolist() == [3, 4]
    assert repeating(ids, 1).tolist() == ids.tolist()
    assert repeating(ids, 9).tolist() == []
    assert repeating(ids, 8).tolist() == []


def test_answers() -> None:
    several = {"ids": np.array([1]), "answers": np.array([1, 2, 3]), "lengths": np.array([1, 0, 2])}
    assert [ids.tolist() for ids in answers(Prediction(several))] == [[1], [], [2, 3]]
    assert [ids.tolist() for ids in answers(Prediction({"ids": np.array([4, 5])}))] == [[4, 5]]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"num_answers": 3}, "'num_answers': must be at most num_beams=1; set num_beams=3, or sample=true (given: 3)"),
        ({"num_answers": 3, "num_beams": 2}, "'num_answers': must be at most num_beams=2; set num_beams=3, or sample=true"),
        (
            {"sample": True, "num_beams": 2},
            "'sample': sampling and num_beams=2 exclude each other; set num_beams=1 or sample=false (given: True)",
        ),
        ({"temperature": 0.5}, "'temperature': acts on sampling only; set sample=true (given: 0.5)"),
        ({"top_k": 5}, "'top_k': acts on sampling only"),
        ({"top_p": 0.5, "num_beams": 2}, "'top_p': acts on sampling only"),
        ({"min_p": 0.5}, "'min_p': acts on sampling only"),
        ({"length_penalty": 2.0}, "'length_penalty': acts on beams only; set num_beams to 2 or more (given: 2.0)"),
        ({"early_stopping": "never"}, "'early_stopping': acts on beams only"),
        (
            {"log_probabilities": True, "num_beams": 2},
            "'log_probabilities': num_beams=2 scores whole answers, not tokens; set num_beams=1 (given: True)",
        ),
        ({"at_once": -1}, "'at_once': Input should be greater than or equal to 0"),
        ({"min_new_tokens": 9, "max_new_tokens": 8}, "'min_new_tokens': must be at most max_new_tokens=8 (given: 9)"),
        ({"temperature": 0.0, "sample": True}, "'temperature': Input should be greater than 0"),
        ({"top_p": 1.5, "sample": True}, "'top_p': Input should be less than or equal to 1"),
        ({"repetition_penalty": 0}, "'repetition_penalty': Input should be greater than 0"),
    ],
)  # fmt: skip
def test_contradictions(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as raised:
        Generation(**given)
    assert re.match(re.escape(message), explain(raised.value))


def test_defaults_of_a_task_never_contradict() -> None:
    """A task with beams by default: without beams its penalty has no effect, and that is no mistake of the user."""

    class Options(Generation):
        num_beams: int = 4
        length_penalty: float = 2.0

    assert Options().num_beams == 4
    alone = Options(num_beams=1)
    assert Options.model_validate(alone.model_dump()) == alone
    with pytest.raises(ValidationError, match="acts on beams only"):
        Options(num_beams=1, length_penalty=3.0)
