"""One class of the home library, several tasks: `problem_type` says which, and units of numbers go with the file."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import anyformer
from anyformer.families import problems

transformers = pytest.importorskip("transformers")
SMALL = {"vocab_size": 61, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 40}


@pytest.fixture
def saved(tmp_path: Path) -> Any:
    """A function that saves a new BERT with a head and gives its folder."""

    def save(**config: Any) -> Path:
        config = {**SMALL, **config}
        transformers.BertForSequenceClassification(transformers.BertConfig(**config)).save_pretrained(tmp_path / "bert")
        words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{index}" for index in range(56))]
        (tmp_path / "bert" / "vocab.txt").write_text("\n".join(words))
        return tmp_path / "bert"

    return save


@pytest.mark.parametrize(
    ("config", "task"),
    [
        ({"num_labels": 3}, "nlp/text-classification"),
        ({"num_labels": 3, "problem_type": "single_label_classification"}, "nlp/text-classification"),
        ({"num_labels": 3, "problem_type": "multi_label_classification"}, "nlp/multilabel-classification"),
        ({"num_labels": 1, "problem_type": "multi_label_classification"}, "nlp/multilabel-classification"),
        ({"num_labels": 1}, "nlp/text-regression"),
        ({"num_labels": 1, "problem_type": "regression"}, "nlp/text-regression"),
    ],
)
def test_the_problem_chooses_the_task_and_survives(saved: Any, config: dict, task: str, tmp_path: Path) -> None:
    folder = saved(**config)
    artifact = anyformer.load(folder)
    assert artifact.component() == task
    bound = artifact.model[task].task
    answer = next(iter(bound.baselines().values()))(bound.Input(text="w1 w2"))
    assert anyformer.pipeline(task, model=artifact)(text="w1 w2").model_fields_set == answer.model_fields_set
    anyformer.export(artifact, tmp_path / "out")
    before, after = (json.loads((each / "config.json").read_text()) for each in (folder, tmp_path / "out"))
    assert before == after


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"problem_type": "ranking"}, "'problem_type' is 'ranking'; supported: 'single_label_classification', 'multi_"),
        ({"problem_type": "regression"}, "'id2label' names 3 numbers; supported: a regression of one"),
        ({"problem_type": "regression", "id2label": {"0": "x"}, problems.STANDARD: [1, 0]},
         "'anyformer_standard' is [1, 0]; it must be a mean and a deviation above 0"),
        ({"problem_type": "single_label_classification", "id2label": {"0": "x"}}, "there is one label"),
    ],
)  # fmt: skip
def test_what_no_task_serves_is_named(saved: Any, config: dict, message: str) -> None:
    folder = saved(num_labels=3)
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | config))
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        anyformer.load(folder)
    assert "\n" not in str(caught.value)


def test_a_regression_goes_out_in_the_units_of_its_data(saved: Any, tmp_path: Path) -> None:
    """Both libraries say the same number, and reading the file back gives the same model."""
    import torch

    artifact = anyformer.load(saved(num_labels=1))
    task = artifact.model["nlp/text-regression"].task
    task.state.update(mean=250.0, deviation=8.0)
    ours = anyformer.pipeline("nlp/text-regression", model=artifact)(text="w1 w2").value
    del artifact.info["origin"]
    anyformer.export(artifact, tmp_path / "out", family="nlp/bert")
    theirs = transformers.BertForSequenceClassification.from_pretrained(tmp_path / "out").eval()
    with torch.no_grad():
        said = theirs(torch.from_numpy(task.encode(task.Input(text="w1 w2"), None)[0].parts["source"])[None]).logits
    assert ours == pytest.approx(said.item(), rel=1e-5)
    assert abs(ours - 250.0) > 1e-3
    again = anyformer.load(tmp_path / "out")
    assert again.model["nlp/text-regression"].task.state == {"mean": 250.0, "deviation": 8.0}
    found = anyformer.pipeline("nlp/text-regression", model=again)(text="w1 w2").value
    np.testing.assert_allclose(found, ours, rtol=1e-6)
