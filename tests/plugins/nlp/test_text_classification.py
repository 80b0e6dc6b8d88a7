from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sklearn.naive_bayes import MultinomialNB

from anyformer.task import Prediction, Record
from anyformer_nlp.text_classification import Text, TextClassification
from anyformer_nlp.tokenizers import END, NUM_SPECIAL, START, Bytes

RNG = np.random.default_rng(0)


def made(rows: list[dict[str, Any]] | None = None, **config: Any) -> TextClassification:
    task = TextClassification(TextClassification.Config(**config), {"text": Bytes(Bytes.Config())})
    task.state = task.fit(task.records(TextClassification.examples() if rows is None else rows))
    return task


def options(**given: Any) -> TextClassification.Options:
    return TextClassification.Options(**given)


def test_a_short_text_is_one_sample_between_start_and_end() -> None:
    (sample,) = made().encode(Text(text="ab"), options())
    np.testing.assert_array_equal(sample.parts["source"], [START, *(np.array(list(b"ab")) + NUM_SPECIAL), END])
    assert sample.parts["source"].dtype == np.int64
    assert not sample.targets


def test_an_empty_text_is_a_sample() -> None:
    (sample,) = made().encode(Text(text=""), options())
    np.testing.assert_array_equal(sample.parts["source"], [START, END])


def test_a_long_text_is_windows_that_hold_all_of_it() -> None:
    text = "abcdefghijklmnopqrstuvwxyz" * 3
    samples = made(context=12).encode(Text(text=text), options())
    pieces = [sample.parts["source"] for sample in samples]
    assert len(pieces) == 8
    assert max(map(len, pieces)) <= 12
    assert max(map(len, pieces)) - min(map(len, pieces)) <= 1
    inner = np.concatenate([piece[1:-1] for piece in pieces])
    assert Bytes(Bytes.Config()).decode(inner) == text


def test_the_answer_is_the_mean_probability_of_the_windows() -> None:
    task = made(context=12)
    predictions = [Prediction({"logits": np.array(row, dtype=np.float32)}) for row in ([0, np.log(3)], [0, 0], [9, 9])]
    answer = task.decode(Text(text="x"), [], predictions, options())
    assert (answer.label, list(answer.scores)) == ("weather", ["weather", "food"])
    assert answer.scores["food"] == pytest.approx((0.25 + 0.5 + 0.5) / 3)
    assert answer.score == answer.scores["weather"] == pytest.approx(1 - answer.scores["food"])
    assert list(task.decode(Text(text="x"), [], predictions, options(top=1)).scores) == ["weather"]


def test_learning_draws_windows_and_leaves_out_tokens_by_the_given_generator_alone() -> None:
    task = made(context=12, token_dropout=0.5)
    record = Record(Text(text="abcdefghij" * 6), TextClassification.Target(label="food"))
    drawn = [task.learn(record, np.random.default_rng(seed)) for seed in range(20)]
    assert {len(samples) for samples in drawn} == {1}
    assert [samples[0].targets["label"].tolist() for samples in drawn] == [[0]] * 20
    lengths = [len(samples[0].parts["source"]) for samples in drawn]
    assert min(lengths) < max(lengths) <= 12
    again = task.learn(record, np.random.default_rng(3))
    np.testing.assert_array_equal(again[0].parts["source"], drawn[3][0].parts["source"])


def test_without_dropout_a_short_text_is_learned_whole() -> None:
    task = made(token_dropout=0)
    record = task.records(TextClassification.examples())[0]
    learned, encoded = task.learn(record, RNG)[0], task.encode(record.input, options())[0]
    np.testing.assert_array_equal(learned.parts["source"], encoded.parts["source"])


def test_state_is_sorted_labels_and_counts() -> None:
    task = made([{"text": "a", "label": 10}, {"text": "b", "label": 9}, {"text": "c", "label": 9}])
    assert task.state["labels"] == ["10", "9"]
    assert task.state["counts"].tolist() == [1, 2]


def test_baselines_equal_their_textbooks() -> None:
    rows = TextClassification.examples()
    rows.append({"text": "rain and frost", "label": "weather"})
    task = made(rows)
    majority, naive_bayes = task.baselines()["majority"], task.baselines()["naive_bayes"]
    assert majority(Text(text="bread")).scores == {"weather": pytest.approx(5 / 9), "food": pytest.approx(4 / 9)}

    def counts(text: str) -> np.ndarray:
        return np.bincount(Bytes(Bytes.Config()).encode(text)["ids"], minlength=259)

    model = MultinomialNB(alpha=1.0).fit([counts(row["text"]) for row in rows], [row["label"] for row in rows])
    for text in ("", "soup", "clouds and rain", "小籠包"):
        expected = dict(zip(model.classes_, model.predict_proba([counts(text)])[0], strict=True))
        assert naive_bayes(Text(text=text)).scores == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"text": "a", "label": "x"}] * 3, "the training data has 1 label: 'x'; a classifier needs two or more"),
        ([], "the training data has 0 labels; a classifier needs two or more"),
    ],
)
def test_one_label_is_too_few(rows: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        made(rows)


def test_a_label_that_training_did_not_see_is_named() -> None:
    task = made()
    row = {"text": "a", "label": "sport"}
    with pytest.raises(ValueError, match="the label 'sport' was not in the training data; labels: 'food', 'weather'"):
        task.learn(task.records([row])[0], RNG)
    accuracy, f1 = task.metrics()
    assert [*accuracy.names, *f1.names] == ["accuracy", "macro_f1"]
    with pytest.raises(ValueError, match="'sport' is not one of the 2 known: 'food', 'weather'"):
        f1.row(SimpleNamespace(label="food"), task.records([row])[0].target)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"text": "a"}, "row 1: 'label' is missing; given: 'text'"),
        ({"text": "a", "label": ""}, "row 1: 'label': String should have at least 1 character"),
        ({"text": "a", "label": 1.5}, "row 1: 'label': Input should be a valid string"),
        ({"text": None, "label": "x"}, "row 1: 'text': Input should be a valid string"),
    ],
)
def test_bad_rows_name_their_field(row: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        made().records([row])[0]


def test_the_picture_marks_the_truth_even_if_it_is_not_among_the_top() -> None:
    task = made()
    answer = task.baselines()["naive_bayes"](Text(text="soup"))
    answer.scores = {"food": 0.9}
    figure = task.draw(Text(text="price: $5 or $6\n" * 30), answer, TextClassification.Target(label="weather"))
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["food", "weather (truth)"]
    figure.canvas.draw()
