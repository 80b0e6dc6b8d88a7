"""Models written for another library: those that came from it, and those trained here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import anyformer
from anyformer.artifact import Artifact, build_model
from anyformer.cli import main
from anyformer.families import fields
from anyformer.nn import config
from anyformer.plugins import task, tokenizer
from anyformer.testing.parity import unit_scale

TEXTS = ["b c d", "e", "h g f e d c b"]


def new_classifier(**stack: Any) -> Artifact:
    """A new text classifier of BERT's shape, but for what `stack` says otherwise."""
    given: dict[str, Any] = {
        "width": 12, "depth": 2, "attention": {"heads": 3}, "norm": {"place": "post", "epsilon": 1e-6},
        "position": {"kind": "learned", "length": 20}, "embedding": {"norm": True, "segments": 2}, "dropout": 0.2,
    }  # fmt: skip
    trunk = config.Trunk.model_validate({"encoder": given | stack})
    kind, words = task("nlp/text-classification"), tokenizer("nlp/words")
    text = words(words.Config())
    text.fit(TEXTS, None)  # type: ignore[arg-type]
    text.registered_id = "nlp/words"
    settings = kind.Config(context=20, pooling="first", hidden="tanh")
    bound = kind(settings, {"text": text}, {"labels": ["no", "yes", "perhaps"]})
    model = build_model(trunk, {"nlp/text-classification": bound})
    unit_scale(model)
    return Artifact(model, trunk)


def test_a_model_trained_here_is_loaded_by_the_home_library(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    artifact = new_classifier()
    done = anyformer.export(artifact, tmp_path / "out")
    assert (done.family, done.architecture, done.has_tokenizer) == ("nlp/bert", "BertForSequenceClassification", False)
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "out").eval()
    assert theirs.config.id2label == {0: "no", 1: "yes", 2: "perhaps"}
    text = artifact.model["nlp/text-classification"].task.tokens["text"]
    answer = anyformer.pipeline(model=artifact)
    for each in TEXTS:
        with torch.inference_mode():
            true = theirs(torch.from_numpy(text.single(text.encode(each)["ids"]))[None]).logits[0].softmax(-1)
        scores = answer(text=each).scores
        assert [scores[label] for label in ("no", "yes", "perhaps")] == pytest.approx(true.tolist(), abs=1e-6)


@pytest.mark.parametrize(
    ("stack", "said"),
    [
        ({"layer_scale": 0.1}, "trunk.encoder.layer_scale is 0.1, where the family means None"),
        ({"norm": {"place": "pre"}}, "trunk.encoder.norm.place is 'pre', where the family means 'post'"),
        ({"embedding": {"segments": 2}}, "trunk.encoder.embedding.norm is False, where the family means True"),
        ({"attention": {"heads": 3, "bias": False}}, "trunk.encoder.attention.bias is False, where the family means True"),
    ],
)  # fmt: skip
def test_what_a_family_cannot_express_is_named(stack: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no family can express this model") as caught:
        anyformer.export(new_classifier(**stack), tmp_path / "out", family="nlp/bert")
    assert said in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_what_matters_in_training_alone_is_no_obstacle(tmp_path: Path) -> None:
    assert anyformer.export(new_classifier(stochastic_depth=0.2), tmp_path / "out").family == "nlp/bert"


def test_a_saved_artifact_still_knows_where_it_came_from(bert: Path, tmp_path: Path) -> None:
    from anyformer import artifact as artifacts

    artifacts.save(anyformer.load(bert), tmp_path / "saved")
    anyformer.export(tmp_path / "saved", tmp_path / "out")
    assert json.loads((tmp_path / "out" / "config.json").read_text()) == json.loads((bert / "config.json").read_text())


def test_a_model_that_serves_another_task_than_its_file_is_written_for_that_task(bert: Path, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    embedding = anyformer.load(bert, task="nlp/text-embedding")
    done = anyformer.export(embedding, tmp_path / "out")
    assert (done.family, done.architecture) == ("nlp/bert", "BertModel")
    theirs = transformers.AutoModel.from_pretrained(tmp_path / "out").state_dict()
    whole = transformers.AutoModelForMaskedLM.from_pretrained(bert).bert.state_dict()
    assert all(torch.equal(theirs[name], tensor) for name, tensor in whole.items())


def test_the_shell(bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "out")
    assert main(["export", str(bert), out]) == 0
    said = capsys.readouterr().out
    assert f"{out}: BertForMaskedLM (nlp/bert)" in said
    assert "without a tokenizer" in said
    assert main(["export", str(bert), out]) == 2
    assert "is there and not empty; give a new folder" in capsys.readouterr().err
    assert main(["export", str(bert), out + "2", "--to", "onnx"]) == 2
    assert "unknown format 'onnx'; there is: huggingface" in capsys.readouterr().err
    assert main(["export", str(bert), out + "2", "--family", "nlp/brett"]) == 2
    assert "unknown family 'nlp/brett'; there are: " in capsys.readouterr().err
    assert main(["export", str(bert), out + "2", "--family", "nlp/gpt2"]) == 2
    assert "no family has a head for nlp/fill-mask" in capsys.readouterr().err


def test_difference_names_the_first_path() -> None:
    left = {"a": {"b": 1, "dropout": 0.1}, "c": None}
    assert fields.difference(left, {"a": {"b": 1, "dropout": 0.5}, "c": None}, "x") is None
    assert (
        fields.difference(left, {"a": {"b": 2, "dropout": 0.1}, "c": None}, "x")
        == "x.a.b is 1, where the family means 2"
    )
