"""`vision/image-embedding`: its head, what it says where there is no label, and the files that it reads."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import anyformer
from anyformer import api, plugins, starting
from anyformer.artifact import unique_tensors
from anyformer.nn import Pack, Part, Stream
from anyformer.task import Prediction
from anyformer.train.prepare import new_model, new_task, task_settings
from anyformer_vision.image_embedding import ImageEmbedding
from anyformer_vision.image_vector import ImageVector
from anyformer_vision.tokenizers import Patches

ROWS = ImageEmbedding.examples()
TINY = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 40, "image_size": 16,
        "patch_size": 4}  # fmt: skip


def bound(**config: Any) -> ImageEmbedding:
    """The task as training binds it."""
    task = ImageEmbedding(ImageEmbedding.Config(**config), {"image": Patches(Patches.Config())})
    records = task.records(ROWS)
    task.tokens["image"].fit(task.corpus("image", records), np.random.default_rng(0))
    task.state = task.fit(records)
    return task


def saved(folder: Path, name: str, **shape: Any) -> Any:
    """A folder of the home library's class `name`, and the model."""
    transformers = pytest.importorskip("transformers")
    kind = getattr(transformers, name)
    torch.manual_seed(0)
    home = kind(kind.config_class(**{**TINY, **shape})).eval()
    home.save_pretrained(folder)
    return home


def photo() -> Any:
    return np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)


def test_the_vector_is_the_class_token_or_the_mean_of_the_patches() -> None:
    x_TD = torch.randn(10, 6, dtype=torch.float64)
    streams = {"source": Stream(x_TD, Pack.of([5, 5]))}
    mean, none = ImageVector(6, "mean", 2)(streams)
    assert none is None
    torch.testing.assert_close(mean, torch.stack([x_TD[2:5].mean(0), x_TD[7:].mean(0)]))
    head = ImageVector(6, "first", 2, num_labels=3, normalise=True).double()
    first, logits = head(streams, torch.tensor([1]))
    torch.testing.assert_close(first, x_TD[5:6] / x_TD[5].norm())
    torch.testing.assert_close(logits, head.output(x_TD[5:6]))
    low = {"source": Stream(x_TD.bfloat16(), Pack.of([5, 5]))}
    assert ImageVector(6, "mean", 2)(low)[0].dtype == torch.float32


def test_the_loss_is_the_cross_entropy_of_labelled_images() -> None:
    streams = {"source": Stream(torch.randn(12, 4), Pack.of([4, 4, 4]))}
    targets = {"label": Part(torch.tensor([2, -100, 0]), Pack.of([1, 1, 1]))}
    head = ImageVector(4, "mean", 0, num_labels=3)
    _, logits = head(streams)
    expected = torch.nn.functional.cross_entropy(logits[[0, 2]], torch.tensor([2, 0]), reduction="sum")
    torch.testing.assert_close(head.loss(streams, targets)["loss"], expected)
    assert head.weigh(targets)["loss"].item() == 2
    with torch.no_grad():
        found = head.split(head(streams), streams)
    assert [(each.values["vector"].shape, each.values["logits"].shape) for each in found] == [((4,), (3,))] * 3


def test_decode_names_the_most_probable_label() -> None:
    task = bound()
    (record, *_) = task.records(ROWS)
    values = {"vector": np.float32([1, 2]), "logits": np.float32([0.1, 0.7])}
    answer = task.decode(record.input, [], [Prediction(values)], task.Options())
    assert (answer.vector, answer.label) == ([1, 2], "standing")
    figure = task.draw(record.input, answer, task.Target(label="$lying"))
    assert len(figure.axes[1].patches) == 2
    assert figure.axes[1].get_title() == r"predicted standing, true \$lying"
    figure.savefig(io.BytesIO(), format="png")


def test_baselines_have_the_reduced_image_for_a_vector() -> None:
    task = bound()
    records = task.records(ROWS)
    majority, nearest = task.baselines()["majority"], task.baselines()["nearest_mean"]
    assert [nearest(record.input).label for record in records] == [record.target.label for record in records]
    assert {majority(record.input).label for record in records} == {"lying"}
    assert len(majority(records[0].input).vector) == 8 * 8
    assert 0 < max(majority(records[0].input).vector) <= 1


def test_a_model_that_only_embeds_says_what_to_do() -> None:
    task = bound(labelled=False)
    (record, *_) = task.records(ROWS)
    with pytest.raises(ValueError, match=r"only embeds \(config.labelled is false\), so there is nothing to train; fine-tu"
                       r"ne vision/image-classification, or set config.labelled to true"):  # fmt: skip
        task.learn(record, np.random.default_rng(0))
    with pytest.raises(ValueError, match="so there is no label to score; fine-tune vision/image-classification"):
        task.metrics()
    (baseline,) = task.baselines().values()
    assert baseline(record.input).label is None
    answer = task.decode(record.input, [], [Prediction({"vector": np.ones(3, "f4")})], task.Options())
    assert answer.label is None


def test_a_class_token_that_is_not_there_is_said() -> None:
    with pytest.raises(
        ValueError, match="pooling=first reads a class token; set class_tokens to 1, or pooling to mean"
    ):
        ImageEmbedding.Config(pooling="first")


@pytest.mark.parametrize("name", ["ViTModel", "DeiTModel", "Dinov2Model"])
@torch.inference_mode()
def test_a_bare_file_embeds(name: str, tmp_path: Path) -> None:
    home = saved(tmp_path / "home", name)
    embed = anyformer.pipeline("vision/image-embedding", model=tmp_path / "home")
    pixels = torch.from_numpy(photo()).permute(2, 0, 1)[None] / 127.5 - 1
    true = home(pixels).last_hidden_state[0, 0]
    answer = embed({"image": photo()})
    assert answer.label is None
    np.testing.assert_allclose(answer.vector, true.numpy(), rtol=0, atol=1e-5 * float(true.abs().max()))


@torch.inference_mode()
def test_a_classification_file_embeds_when_asked(tmp_path: Path) -> None:
    home = saved(tmp_path / "home", "Dinov2ForImageClassification")
    assert anyformer.load(tmp_path / "home").component() == "vision/image-classification"
    embed = anyformer.pipeline("vision/image-embedding", model=tmp_path / "home")
    true = home.dinov2(torch.from_numpy(photo()).permute(2, 0, 1)[None] / 127.5 - 1).pooler_output[0]
    np.testing.assert_allclose(
        embed({"image": photo()}).vector, true.numpy(), rtol=0, atol=1e-5 * float(true.abs().max())
    )


def test_a_timm_file_without_a_head_embeds_and_is_written_back(tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    from timm.models._hub import save_for_hf

    home = timm.create_model("vit_tiny_patch16_224", num_classes=0, img_size=16, patch_size=4, depth=2).eval()
    save_for_hf(home, str(tmp_path), safe_serialization=True)
    with pytest.raises(ValueError, match="serves vision/image-embedding, not vision/image-classification; to train it"):
        anyformer.load(tmp_path, task="vision/image-classification")
    artifact = anyformer.load(tmp_path)
    assert artifact.component() == "vision/image-embedding"
    # Without an origin, the family has to find its own words.
    artifact.info.pop("origin")
    written = api.export(artifact, tmp_path / "export", family="vision/timm-vit-bare")
    assert written.family == "vision/timm-vit-bare"
    again = timm.create_model(f"local-dir:{tmp_path / 'export'}", pretrained=True)
    assert again.num_classes == 0
    for name, tensor in home.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name


@pytest.mark.parametrize("side", [16, 32])
def test_a_classifier_begins_with_all_that_the_file_has(side: int, tmp_path: Path) -> None:
    """Also where the positions were learned for another grid than that of the images."""
    home = saved(tmp_path, "Dinov2Model", image_size=side)
    (tmp_path / "preprocessor_config.json").write_text('{"image_processor_type": "ViTImageProcessor", "size": 16}')
    id, start = "vision/image-classification", anyformer.load(tmp_path)
    given = starting.asked([], [])
    begin = starting.beginning(id, plugins.task(id), start, None, None, given)
    settings = task_settings(plugins.task(id), [*begin.layers, *given.layers], (), begin.trunk)
    starting.check_trunk(id, "encoder", settings.trunk, begin.artifact)
    task = new_task(plugins.task(id), settings, ROWS, begin.artifact)
    artifact, said = new_model({id: task}, settings, begin.artifact)
    assert said == ["trunk: taken over", "embedding: taken over from vision/image-embedding", "head: new"]
    assert task.tokens["image"] is start.model["vision/image-embedding"].task.tokens["image"]
    before, after = (unique_tensors(each.model) for each in (start, artifact))
    ours = {name.replace("image-embedding", "image-classification"): tensor for name, tensor in before.items()}
    assert all(torch.equal(tensor, after[name]) for name, tensor in ours.items())
    prefix = after[f"components.{id}.embedding.streams.source.prefix.weight"]
    assert torch.equal(prefix, home.embeddings.cls_token[0])
    assert {name.rpartition(".")[0] for name in after.keys() - ours.keys()} == {f"components.{id}.head.output"}
