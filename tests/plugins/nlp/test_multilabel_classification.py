from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.naive_bayes import MultinomialNB

from anyformer.data import open_data
from anyformer.task import Prediction
from anyformer_nlp.multilabel_classification import MultilabelClassification, Text, sigmoid
from anyformer_nlp.tokenizers import Bytes

RNG = np.random.default_rng(0)
COLUMNS = {"columns": ("toxic", "insult")}


def made(rows: Any = None, **config: Any) -> MultilabelClassification:
    task = MultilabelClassification(MultilabelClassification.Config(**config), {"text": Bytes(Bytes.Config())})
    task.state = task.fit(task.records(MultilabelClassification.examples() if rows is None else rows))
    return task


def test_three_ways_to_say_labels_are_one(tmp_path: Any) -> None:
    lists = [
        {"text": "a", "labels": ["toxic", "insult"]},
        {"text": "b", "labels": []},
        {"text": "c", "labels": ["toxic"]},
    ]
    strings = [{**row, "labels": "; ".join(row["labels"]) + ";"} for row in lists]
    (tmp_path / "rows.csv").write_text("text,toxic,insult\na,1,1.0\nb,0,no\nc,yes,0\n")
    found = [
        made(lists), made(strings, separator=";"), made(open_data(tmp_path / "rows.csv"), **COLUMNS)
    ]  # fmt: skip
    for task, rows in zip(found, (lists, strings, open_data(tmp_path / "rows.csv")), strict=True):
        assert sorted(task.state["labels"]) == ["insult", "toxic"]
        assert [sorted(record.target.labels) for record in task.records(rows)] == [["insult", "toxic"], [], ["toxic"]]
    assert found[2].state["labels"] == ["toxic", "insult"], "the order of config.columns"


def test_an_empty_cell_is_not_known_and_counts_nowhere() -> None:
    rows = [{"text": "a", "toxic": 1, "insult": ""}, {"text": "b", "toxic": 0, "insult": None},
            {"text": "c", "toxic": float("nan"), "insult": True}]  # fmt: skip
    task = made(rows, token_dropout=0, **COLUMNS)
    learned = [task.learn(record, RNG)[0].targets["labels"].tolist() for record in task.records(rows)]
    assert learned == [[[1, -100]], [[0, -100]], [[-100, 1]]]
    assert task.state["counts"].tolist() == [[1, 1], [1, 0]]


def test_naive_bayes_leaves_out_what_is_not_known() -> None:
    rows = MultilabelClassification.examples()
    task = made(rows)
    records = task.records(rows)

    def counts(text: str) -> np.ndarray:
        return np.bincount(Bytes(Bytes.Config()).encode(text)["ids"], minlength=259)

    for label in ("sad", "food"):
        known = [r for r in records if label not in r.target.unknown]
        model = MultinomialNB(alpha=1.0).fit(
            [counts(r.input.text) for r in known], [label in r.target.labels for r in known]
        )
        yes = sum(label in r.target.labels for r in known)
        shift = np.log((yes + 1) / (len(known) - yes + 1)) - np.log(yes / (len(known) - yes))
        for text in ("soup", "clouds and rain"):
            log_no, log_yes = model.predict_joint_log_proba([counts(text)])[0]
            found = task.baselines()["naive_bayes"](Text(text=text)).scores[label]
            assert found == pytest.approx(sigmoid(np.array(log_yes - log_no + shift)), rel=1e-4)


def test_the_answer_is_the_mean_of_the_windows_and_the_threshold_is_asked() -> None:
    task = made()
    assert task.state["labels"] == ["food", "sad", "weather"]
    predictions = [Prediction({"logits": np.array(row, "f4")}) for row in ([0, -1000, np.log(3)], [0, 0, 1000])]
    answer = task.decode(Text(text="x"), [], predictions, task.Options())
    assert answer.labels == ["weather", "food"]
    assert answer.scores == pytest.approx({"weather": 0.875, "food": 0.5, "sad": 0.25})
    assert task.decode(Text(text="x"), [], predictions, task.Options(threshold=0.2)).labels == [
        "weather",
        "food",
        "sad",
    ]


def test_balanced_weighs_a_yes_by_its_rarity() -> None:
    from types import SimpleNamespace

    trunk = SimpleNamespace(output=SimpleNamespace(width=4))
    assert made().head(trunk).positive_weights is None
    assert made(balanced=True).head(trunk).positive_weights == pytest.approx((4 / 4, 3 / 3, 4 / 4))
    rows = [{"text": "a", "toxic": place == 0, "insult": False} for place in range(5)]
    assert made(rows, balanced=True, **COLUMNS).head(trunk).positive_weights == pytest.approx((4.0, 5.0))


@pytest.mark.parametrize(
    ("row", "config", "message"),
    [
        (
            {"text": "a", "toxic": 1},
            COLUMNS,
            "row 1: the column 'insult' of config.columns is missing; given: 'text', 'to",
        ),
        (
            {"text": "a", "toxic": 2, "insult": 1},
            COLUMNS,
            "row 1: 'toxic' is 2; write 1 or 0, or nothing where it is not",
        ),
        ({"text": "a"}, {}, "row 1: 'labels' is missing; given: 'text'"),
        (
            {"text": "a", "labels": []},
            {},
            "no record of the training data has a label; see its column labels, or set conf",
        ),
    ],
)
def test_bad_rows_are_named(row: dict[str, Any], config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        made([row], **config)


def test_a_label_that_training_did_not_see_is_named() -> None:
    task = made()
    with pytest.raises(
        ValueError, match="the label 'new' was not in the training data; labels: 'food', 'sad', 'weather'"
    ):
        task.learn(task.records([{"text": "a", "labels": "food,new"}])[0], RNG)


def test_the_picture_marks_every_true_label() -> None:
    task = made()
    answer = task.baselines()["frequencies"](Text(text="soup"))
    figure = task.draw(Text(text="soup"), answer, task.Target(labels=["food", "sad"]))
    shown = {label.get_text() for label in figure.axes[0].get_yticklabels()}
    assert shown == {"food (truth)", "sad (truth)", "weather"}
