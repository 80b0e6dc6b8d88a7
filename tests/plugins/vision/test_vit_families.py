"""ViT's families beside what their cells of the parity matrix hold: other grids, other types, sizes, and what is refused."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file

import anyformer
from anyformer.artifact import unique_tensors
from anyformer.nn import Pack
from anyformer.nn.config import Trunk
from anyformer_vision.families import timm_vit
from anyformer_vision.grid_positions import GridPositions, patch_embedding
from anyformer_vision.image_classification import ImageClassification
from anyformer_vision.tokenizers import Patches

SHAPE = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "num_channels": 3, "patch_size": 4}


def saved(folder: Path, name: str, **shape: Any) -> Any:
    """A folder of the home library's class `name`, and the model, whose positions are large enough to matter."""
    transformers = pytest.importorskip("transformers")
    kind = getattr(transformers, name)
    torch.manual_seed(0)
    home = kind(kind.config_class(**SHAPE, **shape)).eval()
    torch.nn.init.normal_(home.embeddings.position_embeddings)
    home.save_pretrained(folder)
    return home


@pytest.mark.parametrize(("height", "width"), [(12, 12), (20, 12), (36, 28)])
@torch.inference_mode()
def test_positions_are_resampled_for_another_grid_as_dinov2_does(height: int, width: int, tmp_path: Path) -> None:
    """The table is of 5 x 5 patches; images have fewer, more, or other proportions."""
    home = saved(tmp_path, "Dinov2Model", image_size=20)
    (tmp_path / "preprocessor_config.json").write_text(
        f'{{"image_processor_type": "ViTImageProcessor", "size": {{"height": {height}, "width": {width}}}}}'
    )
    photo = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    embed = anyformer.pipeline("vision/image-embedding", model=tmp_path)
    true = home(torch.from_numpy(photo).permute(2, 0, 1)[None] / 127.5 - 1).pooler_output[0]
    np.testing.assert_allclose(embed({"image": photo}).vector, true, rtol=0, atol=1e-5 * float(true.abs().max()))


def test_class_tokens_are_not_resampled_and_a_table_of_the_same_grid_is_left_alone() -> None:
    table = torch.nn.Embedding(2 + 9, 6)
    pack, zeros = Pack.of([2 + 4]), torch.zeros(6, 6)
    found = GridPositions(table, 2, (3, 3), (2, 2))(zeros, pack)
    assert torch.equal(found[:2], table.weight[:2])
    assert not torch.equal(found[2:], table.weight[2:6])
    same = GridPositions(table, 2, (3, 3), (3, 3))(torch.zeros(11, 6), Pack.of([11]))
    assert torch.equal(same, table.weight)


@pytest.mark.parametrize(
    ("position", "has"), [({"kind": "learned", "length": 256}, "256"), ({"kind": "rotary"}, "none")]
)
def test_a_grid_needs_as_many_positions(position: dict[str, Any], has: str) -> None:
    tokenizer = Patches(Patches.Config(size=8, mode="L", mean=(0,), std=(1,)))
    trunk = Trunk.model_validate({"encoder": {"position": position}})
    said = rf"for a grid of 3 x 5 patches and 1 class tokens are 16 learned ones; the trunk has {has} \(position.kind"
    with pytest.raises(ValueError, match=said):
        patch_embedding(trunk, {"image": tokenizer}, 1, (3, 5))


@pytest.mark.parametrize("pooling", ["first", "beside", "each"])
def test_a_class_token_that_is_not_there_is_said(pooling: str) -> None:
    said = f"pooling={pooling} reads a class token; set class_tokens to 1, or pooling to mean"
    with pytest.raises(ValidationError, match=said):
        ImageClassification.Config(pooling=pooling)


def test_two_class_tokens_cannot_stand_beside_the_patches() -> None:
    task = ImageClassification(ImageClassification.Config(pooling="beside", class_tokens=2), {}, {"labels": ["a", "b"]})
    with pytest.raises(ValueError, match=r"there are 2, set config\.class_tokens to 1"):
        task.head(Trunk.model_validate({"encoder": {}}))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_narrow_files_are_read_as_fp32(dtype: torch.dtype, tmp_path: Path) -> None:
    saved(tmp_path, "ViTModel", intermediate_size=40, image_size=20)
    path = tmp_path / "model.safetensors"
    narrow = {name: tensor.to(dtype) for name, tensor in load_file(path).items()}
    save_file(narrow, path, {"format": "pt"})
    artifact = anyformer.load(tmp_path)
    weights = unique_tensors(artifact.model)
    assert {tensor.dtype for tensor in weights.values()} == {torch.float32}
    assert torch.equal(weights["trunk.encoder.final_norm.weight"], narrow["layernorm.weight"].float())
    anyformer.export(artifact, tmp_path / "export")
    for name, tensor in load_file(tmp_path / "export" / "model.safetensors").items():
        assert tensor.dtype == dtype
        assert torch.equal(tensor, narrow[name]), name


@pytest.mark.parametrize("name", [*timm_vit.NAMES, *timm_vit.DISTILLED_NAMES])
def test_sizes_are_those_that_timm_makes_of_the_name(name: str) -> None:
    timm = pytest.importorskip("timm")
    with torch.device("meta"):
        home = timm.create_model(name)
    found, block = timm_vit.sizes({"architecture": name}), home.blocks[0]
    assert (found["embed_dim"], found["depth"], found["num_heads"]) == (
        home.embed_dim, len(home.blocks), block.attn.num_heads
    )  # fmt: skip
    assert (found["patch_size"], found["patch_size"]) == home.patch_embed.patch_size
    assert found["img_size"] == home.patch_embed.img_size
    assert int(found["embed_dim"] * found["mlp_ratio"]) == block.mlp.fc1.out_features
    assert (block.attn.qkv.bias is not None) == found["qkv_bias"]
    assert block.norm1.eps == home.norm.eps == 1e-6
    assert home.num_prefix_tokens == (2 if name in timm_vit.DISTILLED_NAMES else 1)
    assert isinstance(home.norm_pre, torch.nn.Identity)
    assert isinstance(home.fc_norm, torch.nn.Identity)
    assert isinstance(block.ls1, torch.nn.Identity)


def test_every_argument_that_is_read_or_refused_is_one_of_timms() -> None:
    timm = pytest.importorskip("timm")
    known = set(inspect.signature(timm.models.vision_transformer.VisionTransformer).parameters)
    read = {
        *timm_vit.DEFAULTS,
        *timm_vit.ONLY,
        *timm_vit.IN_TRAINING,
        *timm_vit.SIZES["base"],
        "img_size",
        "patch_size",
    }
    assert read <= known
