from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from anyformer.task import Prediction
from anyformer_nlp.text_regression import Text, TextRegression
from anyformer_nlp.tokenizers import Bytes

RNG = np.random.default_rng(0)


def made(rows: Any = None, **config: Any) -> TextRegression:
    task = TextRegression(TextRegression.Config(**config), {"text": Bytes(Bytes.Config())})
    task.state = task.fit(task.records(TextRegression.examples() if rows is None else rows))
    return task


def test_numbers_are_learned_scaled_and_answered_in_their_unit() -> None:
    rows = [{"text": "a", "value": 100.0}, {"text": "b", "value": 300.0}]
    task = made(rows)
    learned = [task.learn(record, RNG)[0].targets["values"] for record in task.records(rows)]
    assert [values.tolist() for values in learned] == [[[-1.0]], [[1.0]]]
    windows = [Prediction({"values": np.array([value], "f4")}) for value in (1.0, 2.0)]
    assert task.decode(Text(text="a"), [], windows, None).value == pytest.approx(350.0)


def test_the_baseline_is_a_ridge_on_which_ids_there_are() -> None:
    rows = TextRegression.examples()
    has = np.zeros((len(rows), 259))
    for row, found in zip(has, rows, strict=True):
        row[Bytes(Bytes.Config()).encode(found["text"])["ids"]] = 1
    values = np.array([row["value"] for row in rows])
    true, baselines = Ridge(alpha=1.0).fit(has, values).predict(has), made().baselines()
    assert [baselines["ridge"](Text(text=row["text"])).value for row in rows] == pytest.approx(true.tolist(), abs=1e-3)
    assert baselines["mean"](Text(text="x")).value == pytest.approx(values.mean())


def test_bad_data_is_named() -> None:
    with pytest.raises(ValueError, match="the training data has no record to learn from"):
        made([])
    with pytest.raises(ValueError, match="row 1: 'value': Input should be a valid number"):
        made([{"text": "a", "value": ""}])


def test_the_picture_names_answer_and_truth() -> None:
    task = made()
    figure = task.draw(Text(text="price: $5"), task.Output(value=3.0), task.Target(value=2.5))
    figure.canvas.draw()
    said = {text.get_text() for text in figure.axes[0].get_legend().get_texts()}
    assert {"answer 3", "truth 2.5"} <= said
