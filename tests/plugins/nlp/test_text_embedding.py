from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from anyformer.task import Array, Prediction, Record
from anyformer_nlp.text_embedding import Likeness, Text, TextEmbedding, Vector, cosine, overlap
from anyformer_nlp.tokenizers import END, NUM_SPECIAL, START, Bytes

RNG = np.random.default_rng(0)
OPTIONS = TextEmbedding.Options()


def made(**config: Any) -> TextEmbedding:
    task = TextEmbedding(TextEmbedding.Config(**config), {"text": Bytes(Bytes.Config())})
    task.state = task.fit(task.records(TextEmbedding.examples()))
    return task


def framed(text: str) -> list[int]:
    return [START, *(np.array(list(text.encode()), dtype=np.int64) + NUM_SPECIAL), END]


def said(*vectors: list[float]) -> list[Prediction]:
    return [Prediction({"vector": np.array(vector, dtype=np.float32)}) for vector in vectors]


class Bare(Bytes):
    """A tokenizer that sets nothing around a text."""

    def single(self, ids: Array) -> Array:
        return ids

    def num_special(self, pair: bool = False) -> int:
        return 0


def test_a_pair_is_one_sample() -> None:
    (sample,) = made().learn(Record(Text(text="ab", other="xyz"), Likeness(score=0.25)), RNG)
    assert {name: part.tolist() for name, part in sample.parts.items()} == {
        "source": framed("ab"),
        "other": framed("xyz"),
    }
    assert sample.targets["score"].tolist() == [0.25]
    assert (sample.parts["other"].dtype, sample.targets["score"].dtype) == (np.int64, np.float32)


def test_texts_are_encoded_one_by_one_and_long_ones_in_windows() -> None:
    samples = made(context=12).encode(Text(text="x" * 25, other="yz"), OPTIONS)
    assert [sample.notes["field"] for sample in samples] == ["text", "text", "text", "other"]
    assert [len(sample.parts["source"]) for sample in samples] == [11, 10, 10, 4]
    assert not any(len(sample.parts["other"]) for sample in samples)
    assert np.concatenate([sample.parts["source"][1:-1] for sample in samples[:3]]).tolist() == framed("x" * 25)[1:-1]


def test_the_vector_is_the_mean_over_all_tokens_of_all_windows() -> None:
    task, input = made(context=12, normalise=False), Text(text="x" * 15, other="yz")
    samples = task.encode(input, OPTIONS)
    rows = [RNG.normal(size=(len(sample.parts["source"]), 3)) for sample in samples]
    predictions = said(*(row.mean(axis=0).tolist() for row in rows))
    answer = task.decode(input, samples, predictions, OPTIONS)
    whole = np.concatenate(rows[:2]).mean(axis=0)
    np.testing.assert_allclose(answer.vector, whole, rtol=1e-6)
    other = rows[2].mean(axis=0)
    expected = whole @ other / np.linalg.norm(whole) / np.linalg.norm(other)
    assert answer.similarity == pytest.approx(expected, rel=1e-6)
    unit = made(context=12).decode(input, samples, predictions, OPTIONS)
    np.testing.assert_allclose(unit.vector, whole / np.linalg.norm(whole), rtol=1e-6)
    assert unit.similarity == answer.similarity


def test_one_text_has_a_vector_and_no_similarity() -> None:
    task, input = made(), Text(text="ab")
    answer = task.decode(input, task.encode(input, OPTIONS), said([3.0, 4.0]), OPTIONS)
    assert answer == Vector(vector=[0.6, 0.8])


def test_a_model_equals_mean_pooling_by_hand() -> None:
    """From text to answer through a model: all tokens, the special ones included, then length 1."""
    import torch

    from anyformer import api
    from anyformer.nn import Pack, Part
    from anyformer.testing.subject import Subject

    small = Subject.of("nlp/text-embedding").model()
    answer = small.pipeline(text="a dog runs", other="rain")
    task, model = small.task, small.artifact.model
    sample = task.encode(Text(text="a dog runs"), OPTIONS)[0]
    ids = torch.tensor(sample.parts["source"])
    stream = model[small.id].embedding.streams["source"](Part(ids, Pack.of([len(ids)])))
    with torch.inference_mode():
        mean = model.trunk({"source": stream})["source"].x_TD.mean(0)
    np.testing.assert_allclose(answer.vector, mean / mean.norm(), rtol=1e-4, atol=1e-6)
    swapped = small.pipeline(text="rain", other="a dog runs")
    assert swapped.similarity == pytest.approx(answer.similarity, abs=1e-5)
    pairs = [{**row, "score": None} for row in small.rows]
    assert api.evaluate(small.id, model=small.artifact, data=pairs).verdict == "no skill"


@pytest.mark.parametrize(
    ("config", "row", "message"),
    [
        ({}, {"text": "a", "score": 1}, "'other' is missing; a pair of texts is needed to learn from"),
        ({}, {"text": "a", "other": "b"}, "'score' is missing; give one, or learn from pairs that have none: config.l"),
        ({"learning": "pairs"}, {"text": "a", "other": "b", "score": 0.5}, "'score' is 0.5, but config.learning=pairs"),
        ({}, {"text": "a", "other": "b", "score": 4.2}, "row 1: 'score': Input should be less than or equal to 1"),
    ],
)
def test_a_row_that_cannot_be_learned_is_refused(config: dict[str, Any], row: dict[str, Any], message: str) -> None:
    task = made(**config)
    with pytest.raises(ValueError, match=message):
        task.learn(task.records([row])[0], RNG)


def test_pairs_without_scores_are_told_from_one_another() -> None:
    from anyformer.nn.config import Trunk

    task = made(learning="pairs", scale=9)
    (sample,) = task.learn(Record(Text(text="a", other="b"), Likeness()), RNG)
    assert np.isnan(sample.targets["score"]).tolist() == [True]
    head: Any = task.head(Trunk.model_validate(TextEmbedding.default_trunk))
    assert (head.couples_samples, head.scale) == (True, 9)


def test_a_text_of_no_tokens_has_no_vector() -> None:
    task = TextEmbedding(TextEmbedding.Config(), {"text": Bare(Bare.Config())})
    with pytest.raises(ValueError, match="'other' is '', which has no tokens and so no vector; give some text"):
        task.encode(Text(text="a", other=""), OPTIONS)
    assert len(made().encode(Text(text=""), OPTIONS)) == 1


def test_learning_draws_a_window_of_a_long_text_by_the_given_generator_alone() -> None:
    task, record = made(context=12), Record(Text(text="abcdefghijkl" * 6, other="b"), Likeness(score=1))
    drawn = [task.learn(record, np.random.default_rng(seed))[0].parts["source"].tolist() for seed in range(20)]
    assert len({tuple(ids) for ids in drawn}) > 3
    assert drawn[3] == task.learn(record, np.random.default_rng(3))[0].parts["source"].tolist()


def test_baselines_count_words_and_know_the_mean() -> None:
    rows = TextEmbedding.examples()
    methods = made().baselines()
    input = Text(text="A dog runs!", other="the dog")
    assert methods["overlap"](input) == Vector(vector=[], similarity=1 / 5)
    assert methods["constant"](input).similarity == pytest.approx(np.mean([row["score"] for row in rows]))
    assert methods["overlap"](Text(text="x")).similarity is None
    assert (overlap("", " "), overlap("", "x")) == (1.0, 0.0)
    unfitted = TextEmbedding(TextEmbedding.Config(), {"text": Bytes(Bytes.Config())})
    assert unfitted.baselines()["constant"](input).similarity == 0


def test_a_cosine_stays_a_cosine() -> None:
    vector = np.array([0.1, 0.7, 0.3])
    assert (cosine(vector, 3 * vector), cosine(vector, 0 * vector)) == (pytest.approx(1), 0)
    assert cosine(vector, vector) <= 1


def test_pictures_of_a_pair_and_of_one_vector() -> None:
    task = made()
    pair = task.draw(Text(text="$a", other="b"), Vector(vector=[1.0], similarity=-0.5), Likeness(score=0.25))
    assert pair.axes[0].get_xlabel() == "similarity -0.50"
    legend = pair.axes[0].get_legend()
    assert legend is not None
    assert legend.get_texts()[0].get_text() == "truth 0.25"
    one = task.draw(Text(text="a"), Vector(vector=[0.1] * 100))
    assert one.axes[0].get_images()[0].get_size() == (2, 64)
    for figure in (pair, one, task.draw(Text(text="a"), Vector(vector=[]))):
        figure.canvas.draw()
