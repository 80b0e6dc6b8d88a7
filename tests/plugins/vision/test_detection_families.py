"""Folders of detectors as transformers writes them: what they answer, how images reach them, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import anyformer
from anyformer.testing.parity import unit_scale
from anyformer_vision.detection_tokenizer import Pixels

transformers = pytest.importorskip("transformers")
TASK = "vision/object-detection"
LABELS = {0: "N/A", 1: "person", 2: "bicycle", 3: "N/A", 4: "N/A", 5: "stop sign"}
"""As in COCO: labels that were never used have no name."""
DETR = {"backbone": "resnet10t", "d_model": 36, "encoder_layers": 1, "decoder_layers": 2, "encoder_attention_heads": 3,
        "decoder_attention_heads": 3, "encoder_ffn_dim": 40, "decoder_ffn_dim": 44, "num_queries": 9}  # fmt: skip
YOLOS: dict[str, Any] = {
    "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 40, "image_size": [32, 48],
    "patch_size": 8, "num_detection_tokens": 9,
}  # fmt: skip
SIZE = {"shortest_edge": 96, "longest_edge": 125}


def saved(name: str, folder: Path, **processor: Any) -> tuple[Any, Any]:
    """A model and its processor, saved in a folder; the one of Pillow, as transformers' models were trained with."""
    torch.manual_seed(0)
    config = transformers.DetrConfig(**DETR) if name == "Detr" else transformers.YolosConfig(**YOLOS)
    config.id2label, config.label2id = LABELS, {label: index for index, label in LABELS.items()}
    model = getattr(transformers, f"{name}ForObjectDetection")(config).eval()
    spread(model)
    images = getattr(transformers, f"{name}ImageProcessorPil")(size=SIZE, **processor)
    model.save_pretrained(folder)
    images.save_pretrained(folder)
    return model, images


def spread(model: Any) -> None:
    """Weights at unit scale and frozen norms that leave maps as they are: queries and images are answered differently."""
    unit_scale(model)
    for name, parameter in model.named_parameters():
        if "token" in name or "position_embeddings" in name:
            torch.nn.init.normal_(parameter)
        elif parameter.ndim == 4:
            parameter.data.mul_(2**0.5)
        elif parameter.ndim == 1:
            parameter.data.mul_(0.3).add_(0.0 if name.endswith("bias") else 1.0)
    for name, buffer in model.named_buffers():
        buffer.fill_(0.0 if name.endswith(("mean", "bias")) else 1.0)


def changed(folder: Path, name: str, **values: Any) -> None:
    """Other values of a JSON file; None takes a key out."""
    path = folder / name
    content = {key: value for key, value in {**json.loads(path.read_text()), **values}.items() if value is not None}
    path.write_text(json.dumps(content))


def picture(height: int = 211, width: int = 160) -> np.ndarray:
    """Blocks of colours."""
    blocks = np.random.default_rng(1).integers(0, 256, (7, 5, 3), dtype=np.uint8)
    return np.ascontiguousarray(blocks.repeat(31, 0)[:height].repeat(32, 1)[:, :width])


@pytest.mark.parametrize("name", ["Detr", "Yolos"])
def test_the_same_boxes_and_labels(name: str, tmp_path: Path) -> None:
    model, images = saved(name, tmp_path)
    pixels = picture()
    with torch.inference_mode():
        inputs = images(images=pixels, return_tensors="pt")
        found = model(pixel_values=inputs["pixel_values"])
    sizes = torch.tensor([pixels.shape[:2]])
    (true,) = images.post_process_object_detection(found, threshold=0.0, target_sizes=sizes)

    answer = anyformer.pipeline(TASK, model=tmp_path)({"image": pixels})
    order = torch.argsort(-true["scores"], stable=True)
    assert len(answer.boxes) == 9
    assert np.ptp([box.box for box in answer.boxes], axis=0).max() > 1  # pixel: all boxes alike would prove little
    assert [box.label for box in answer.boxes] == [LABELS[int(label)] for label in true["labels"][order]]
    assert np.allclose([box.score for box in answer.boxes], true["scores"][order], atol=1e-5)
    height, width = pixels.shape[:2]
    # Theirs may reach beyond the image.
    expected = np.clip(true["boxes"][order].numpy(), 0, [width, height, width, height])
    assert np.abs(np.array([box.box for box in answer.boxes]) - expected).max() < 1e-3


@pytest.mark.parametrize("name", ["Detr", "Yolos"])
def test_export_says_the_same_of_images_and_labels(name: str, tmp_path: Path) -> None:
    processor = {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.5, 0.6, 0.7], "do_rescale": False}
    saved(name, tmp_path / "home", **processor)
    anyformer.export(anyformer.load(tmp_path / "home"), tmp_path / "export")
    task: Any = anyformer.load(tmp_path / "export").model[TASK].task
    assert (task.tokens["image"].config.shortest, task.tokens["image"].config.longest) == (96, 125)
    theirs = getattr(transformers, f"{name}ImageProcessorPil")
    both = [
        theirs.from_pretrained(tmp_path / where)(images=picture(), return_tensors="np")["pixel_values"]
        for where in ("home", "export")
    ]
    assert np.abs(both[0] - both[1]).max() < 1e-3 * np.abs(both[0]).max()
    config = json.loads((tmp_path / "export" / "config.json").read_text())
    assert config["id2label"] == {str(index): label for index, label in LABELS.items()}


def test_old_files_of_detr_name_the_network_elsewhere_and_count_batches(tmp_path: Path) -> None:
    saved("Detr", tmp_path)
    pixels = picture()
    before = anyformer.pipeline(TASK, model=tmp_path)({"image": pixels})
    changed(tmp_path, "config.json", backbone_config=None, backbone="resnet10t", use_timm_backbone=True)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(
        {"feature_extractor_type": "DetrFeatureExtractor", "size": 96, "max_size": 125, "do_resize": True}
    ))  # fmt: skip
    weights = load_file(tmp_path / "model.safetensors")
    counter = "model.backbone.conv_encoder.model.layer2.0.downsample.2.num_batches_tracked"
    weights[counter] = torch.tensor(7)
    save_file(weights, tmp_path / "model.safetensors")

    artifact = anyformer.load(tmp_path)
    assert anyformer.pipeline(TASK, model=artifact)({"image": pixels}) == before
    anyformer.export(artifact, tmp_path / "export")
    again = load_file(tmp_path / "export" / "model.safetensors")
    assert again.keys() == weights.keys()
    assert torch.equal(again[counter], weights[counter])


@pytest.mark.parametrize(
    ("name", "wrong", "said"),
    [
        ("Detr", {"auxiliary_loss": True}, "'auxiliary_loss' is True; supported: False"),
        ("Detr", {"position_embedding_type": "learned"}, "'position_embedding_type' is 'learned'; supported: 'sine'"),
        ("Detr", {"backbone_config": {"model_type": "resnet"}}, "'backbone_config' is of type 'resnet'; supported: 'timm"),
        ("Detr", {"backbone_config": None, "use_timm_backbone": False}, "supported: networks of timm by name"),
        ("Detr", {"backbone_config": None, "backbone": "vgg11"}, "'backbone' is 'vgg11'; supported: resnet10t, resnet18"),
        ("Detr", {"backbone_config": {"model_type": "timm_backbone", "backbone": "resnet18", "output_stride": 8}},
         "'output_stride' is 8; supported: 16 and 32"),
        ("Detr", {"backbone_config": {"model_type": "timm_backbone", "backbone": "resnet18", "out_indices": [1, 2]}},
         "give the network's last map ('out_indices')"),
        ("Yolos", {"patch_size": 33}, "'patch_size' is 33; supported: from 1 to the sides of 'image_size', [32, 48]"),
        ("Yolos", {"patch_size": 7}, "[32, 48] and 'patch_size' 7, which means 31 positions between blocks for 4 x 6 "),
        ("Yolos", {"patch_size": 32, "image_size": [32, 64]}, "sides of images are multiples of 16"),
    ],
)  # fmt: skip
def test_a_configuration_that_is_not_supported(name: str, wrong: dict[str, Any], said: str, tmp_path: Path) -> None:
    saved(name, tmp_path)
    changed(tmp_path, "config.json", **wrong)
    with pytest.raises(ValueError) as error:  # noqa: PT011 (the whole message is compared below)
        anyformer.load(tmp_path)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"do_resize": False}, "'do_resize' is False; supported: True"),
        ({"resample": 3}, "'resample' is 3; supported: 2"),
        (
            {"size": {"max_height": 10, "max_width": 10}},
            "supported: shortest_edge and longest_edge, or height and width",
        ),
        ({"image_std": ["a", 1, 1]}, "'image_mean', 'image_std' and 'rescale_factor' must be numbers"),
        ({"size": 0}, "shortest"),
        ({"image_processor_type": "ViTImageProcessor"}, "'ViTImageProcessor' is not supported; there are: Detr"),
    ],
)
def test_images_that_are_not_supported(wrong: dict[str, Any], said: str, tmp_path: Path) -> None:
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(wrong))
    with pytest.raises(ValueError) as error:  # noqa: PT011 (the whole message is compared below)
        Pixels.read(tmp_path, {"model_type": "detr"})
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("name", "multiple"), [("Detr", 1), ("Yolos", 16)])
def test_without_a_file_the_processor_of_the_model_is_meant(name: str, multiple: int, tmp_path: Path) -> None:
    found = Pixels.read(tmp_path, {"model_type": name.lower()}).config
    assert (found.shortest, found.longest, found.multiple) == (800, 1333, multiple)
    true = getattr(transformers, f"{name}ImageProcessorPil")()
    assert np.allclose(np.array(found.mean) / 255, true.image_mean)
    assert np.allclose(np.array(found.std) / 255, true.image_std)


def test_settings_that_no_processor_has_are_not_written(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "yolos"}')
    written = [Pixels(Pixels.Config(**of)).write(tmp_path) for of in ({}, {"shortest": 96, "multiple": 8})]
    assert written == [False, False]
    assert not (tmp_path / "preprocessor_config.json").exists()
    assert Pixels(Pixels.Config(size=(32, 48))).write(tmp_path)
    assert Pixels.read(tmp_path, {"model_type": "yolos", "patch_size": 16}).size(100, 100) == (32, 48)


@pytest.mark.parametrize(("name", "decoder"), [("DetrForObjectDetection", True), ("YolosForObjectDetection", False)])
def test_a_model_that_never_had_a_file_is_written_for_transformers(name: str, decoder: bool, tmp_path: Path) -> None:
    """Where the family has words for it: post-norm, as DETR has it, and a preset of YOLOS' epsilon."""
    from anyformer.artifact import Artifact, build_model
    from anyformer.nn.config import Attention, FeedForward, Norm, Position, Stack, Trunk
    from anyformer_vision.object_detection import ObjectDetection

    stack = Stack(
        width=16, depth=2, attention=Attention(heads=2), position=Position(kind="none"), feed_forward=FeedForward(width=30),
        norm=Norm(place="post" if decoder else "pre"),
    )  # fmt: skip
    last = stack.model_copy(update={"cross": True, "norm": Norm(place="post", final=True)})
    trunk = Trunk(encoder=stack, decoder=last if decoder else None)
    config = ObjectDetection.Config(
        num_queries=5, backbone="resnet10t", dilation=True, grid=(2, 3), between=not decoder,
        class_layers=1 if decoder else 3, teach_every_block=True,
    )  # fmt: skip
    tokenizer = Pixels(Pixels.Config(shortest=32, longest=64, multiple=1 if decoder else 16))
    task = ObjectDetection(config, {"image": tokenizer}, {"labels": ["cat", "dog"]})
    artifact = Artifact(build_model(trunk, {TASK: task}).eval(), trunk, {}, {})
    anyformer.export(artifact, tmp_path / "made")
    home = getattr(transformers, name).from_pretrained(tmp_path / "made").eval()
    answer = anyformer.pipeline(TASK, model=artifact)({"image": picture(48, 32)})
    images = transformers.AutoImageProcessor.from_pretrained(tmp_path / "made", backend="pil")
    with torch.inference_mode():
        found = home(pixel_values=images(images=picture(48, 32), return_tensors="pt")["pixel_values"])
    (true,) = images.post_process_object_detection(found, threshold=0.0, target_sizes=[(48, 32)])
    expected = np.clip(true["boxes"][torch.argsort(-true["scores"], stable=True)].numpy(), 0, [32, 48, 32, 48])
    assert np.abs(np.array([box.box for box in answer.boxes]) - expected).max() < 1e-3
