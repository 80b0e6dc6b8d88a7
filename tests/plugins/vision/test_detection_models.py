"""DETR and YOLOS against `transformers`: the same weights, all of them drawn so that they matter, the same answers."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from anyformer.artifact import build_model
from anyformer.data.packs import collate
from anyformer.nn import Model, build
from anyformer.nn.config import Attention, FeedForward, Norm, Position, Stack, Trunk
from anyformer.nn.pack import Pack, Part
from anyformer.task import Sample
from anyformer_vision import detection_presets
from anyformer_vision.detection_tokenizer import Pixels
from anyformer_vision.detr import DetrEmbedding, residual_network, sine_positions
from anyformer_vision.object_detection import ObjectDetection
from anyformer_vision.yolos import YolosEmbedding

ID = "vision/object-detection"
LABELS = ["cat", "dog", "hat"]
PRECISIONS = [(torch.float32, 1e-5), (torch.float64, 1e-9)]


def model_of(trunk: Trunk, **config: Any) -> Model:
    """Our model of a trunk."""
    tokenizer = Pixels(Pixels.Config(multiple=1 if trunk.decoder else 16))
    task = ObjectDetection(ObjectDetection.Config(**config), {"image": tokenizer}, {"labels": LABELS})
    return build_model(trunk, {ID: task}).eval()


def draw(module: nn.Module, unit_scale: Callable[..., None]) -> None:
    """Weights at unit scale: convolutions by all values they sum over, tables as large as what they are added to, frozen
    norms far from doing nothing.
    """
    unit_scale(module)
    generator = torch.Generator().manual_seed(3)
    for name, parameter in module.named_parameters():
        if re.search(r"token|position", name):
            parameter.data.copy_(torch.randn(parameter.shape, generator=generator))
        elif parameter.ndim == 4:
            drawn = torch.randn(parameter.shape, generator=generator)
            parameter.data.copy_(drawn * (2 / parameter[0].numel()) ** 0.5)
        elif parameter.ndim == 1:  # what all tokens have in common must not drown what they have not
            parameter.data.mul_(0.3).add_(0.0 if name.endswith("bias") else 1.0)
    for name, buffer in module.named_buffers():
        drawn = torch.rand(buffer.shape, generator=generator)
        buffer.copy_(drawn + 0.5 if name.endswith(("weight", "running_var")) else drawn - 0.5)


def calibrate(backbone: nn.Module) -> None:
    """Moments of frozen norms as training would leave them; with random ones, a map is the same everywhere."""

    def moments(norm: Any, given: tuple[Tensor]) -> None:
        norm.running_mean.copy_(given[0].mean((0, 2, 3)))
        norm.running_var.copy_(given[0].var((0, 2, 3)) + 0.1)

    hooks = [
        module.register_forward_pre_hook(moments) for module in backbone.modules() if hasattr(module, "running_mean")
    ]
    (sample,) = samples([(128, 160)])
    with torch.no_grad():
        backbone(torch.from_numpy(sample.parts["pixels"]).view(1, 128, 160, 3).permute(0, 3, 1, 2))
    for hook in hooks:
        hook.remove()


def load(
    model: Model, theirs: nn.Module, rows: list[tuple[str, str]], reshape: dict[str, Callable[..., Tensor]]
) -> None:
    """Their weights under our names: `rows` are a pattern of their names and what ours is, `reshape` goes by ours."""
    state = model.state_dict()
    missing = set(state)
    for name, tensor in theirs.state_dict().items():
        (found,) = [re.sub(f"^{pattern}$", ours, name) for pattern, ours in rows if re.match(f"^{pattern}$", name)]
        own = found.replace("EMBEDDING", f"components.{ID}.embedding").replace("HEAD", f"components.{ID}.head")
        change = next((change for end, change in reshape.items() if own.endswith(end)), lambda x: x)
        state[own].copy_(change(tensor))
        missing.remove(own)
    assert not missing


def samples(sizes: list[tuple[int, int]]) -> list[Sample]:
    """Images of coarse noise: fine noise would look the same to a network everywhere."""
    rng = np.random.default_rng(5)
    tokenizer = Pixels(Pixels.Config(multiple=1))
    found = []
    for height, width in sizes:
        coarse = rng.integers(0, 256, (height // 24 + 1, width // 24 + 1, 3), dtype=np.uint8)
        pixels = coarse.repeat(24, axis=0).repeat(24, axis=1)[:height, :width]
        found.append(Sample(tokenizer.parts(pixels)))
    return found


def compare(model: Model, theirs: nn.Module, sizes: list[tuple[int, int]], dtype: torch.dtype, allowed: float) -> None:
    """All images in one pack here, one at a time there."""
    images = samples(sizes)
    with torch.no_grad():
        streams = model.encode(collate(images)[0], ID)
        logits, boxes = (values.unflatten(0, (len(sizes), -1)) for values in model[ID].head(streams))
        for image, (height, width) in enumerate(sizes):
            pixels = torch.from_numpy(images[image].parts["pixels"]).to(dtype).view(1, height, width, 3)
            true = theirs(pixel_values=pixels.permute(0, 3, 1, 2))
            for found, expected in ((logits[image], true.logits[0]), (boxes[image], true.pred_boxes[0])):
                assert found.dtype == expected.dtype == dtype
                assert float(expected.std(0).max()) > 5e-4  # queries differ
                assert float((found - expected).abs().max() / expected.abs().max()) < allowed


DETR_ROWS = [
    (r"model\.backbone\.model\.(.*)", r"EMBEDDING.backbone.\1"),
    (r"model\.input_projection\.(.*)", r"EMBEDDING.projection.\1"),
    (r"model\.query_position_embeddings\.(.*)", r"EMBEDDING.queries.\1"),
    *(
        (rf"model\.(encoder|decoder)\.layers\.(\d+)\.{their}\.{one}_proj\.(.*)", rf"trunk.\1.blocks.\2.{our}.{other}.\3")
        for their, our in (("self_attn", "attention"), ("encoder_attn", "cross"))
        for one, other in (("q", "query"), ("k", "key"), ("v", "value"), ("o", "output"))
    ),
    *(
        (rf"model\.(encoder|decoder)\.layers\.(\d+)\.{their}\.(.*)", rf"trunk.\1.blocks.\2.{our}.\3")
        for their, our in (
            (r"self_attn_layer_norm", "attention_residual.norm"), (r"encoder_attn_layer_norm", "cross_residual.norm"),
            (r"final_layer_norm", "feed_forward_residual.norm"),
            (r"mlp\.fc1", "feed_forward.up"), (r"mlp\.fc2", "feed_forward.down"),
        )
    ),
    (r"model\.decoder\.layernorm\.(.*)", r"trunk.decoder.final_norm.\1"),
    (r"class_labels_classifier\.(.*)", r"HEAD.classes.layers.0.\1"),
    (r"bbox_predictor\.(.*)", r"HEAD.boxes.\1"),
]  # fmt: skip
DETR_RESHAPE = {"embedding.projection.weight": lambda x_DC11: x_DC11.flatten(1)}


def detr_trunk() -> Trunk:
    """Two blocks each, of different widths inside, as DETR has them."""
    common: dict[str, Any] = {
        "width": 32, "depth": 2, "attention": Attention(heads=4), "position": Position(kind="none"),
    }  # fmt: skip
    return Trunk(
        encoder=Stack(
            **common, norm=Norm(place="post"), feed_forward=FeedForward(width=48, activation="relu")
        ),
        decoder=Stack(
            **common, cross=True, norm=Norm(place="post", final=True),
            feed_forward=FeedForward(width=40, activation="relu"),
        ),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("backbone", "dilation", "dtype", "allowed"),
    [*(("resnet18", False, *precision) for precision in PRECISIONS), ("resnet26", True, *PRECISIONS[1])],
)
def test_detr_is_that_of_transformers(
    backbone: str, dilation: bool, dtype: torch.dtype, allowed: float, unit_scale: Callable[..., None]
) -> None:
    transformers = pytest.importorskip("transformers")
    settings = transformers.DetrConfig(
        backbone=backbone, use_timm_backbone=True, use_pretrained_backbone=False, dilation=dilation, num_queries=7,
        d_model=32, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4, decoder_attention_heads=4,
        encoder_ffn_dim=48, decoder_ffn_dim=40, num_labels=len(LABELS),
    )  # fmt: skip
    theirs = transformers.DetrForObjectDetection(settings).eval()
    model = model_of(detr_trunk(), backbone=backbone, num_queries=7, dilation=dilation)
    draw(theirs, unit_scale)
    calibrate(theirs.model.backbone.model)
    load(model, theirs, DETR_ROWS, DETR_RESHAPE)
    sizes = [(65, 97), (64, 64), (33, 130), (65, 97)]
    compare(model.to(dtype), theirs.to(dtype), sizes, dtype, allowed)


YOLOS_ROWS = [
    (r"vit\.embeddings\.cls_token", "EMBEDDING.class_token.weight"),
    (r"vit\.embeddings\.detection_tokens", "EMBEDDING.tokens.weight"),
    (r"vit\.embeddings\.position_embeddings", "EMBEDDING.positions.weight"),
    (r"vit\.embeddings\.patch_embeddings\.projection\.(.*)", r"EMBEDDING.projection.\1"),
    (r"vit\.encoder\.interpolation\.mid_position_embeddings", "EMBEDDING.between"),
    *(
        (rf"vit\.encoder\.layer\.(\d+)\.{their}\.(weight|bias)", rf"trunk.encoder.blocks.\1.{our}.\2")
        for their, our in (
            (r"attention\.attention\.query", "attention.query"), (r"attention\.attention\.key", "attention.key"),
            (r"attention\.attention\.value", "attention.value"), (r"attention\.output\.dense", "attention.output"),
            (r"intermediate\.dense", "feed_forward.up"), (r"output\.dense", "feed_forward.down"),
            (r"layernorm_before", "attention_residual.norm"), (r"layernorm_after", "feed_forward_residual.norm"),
        )
    ),
    (r"vit\.layernorm\.(.*)", r"trunk.encoder.final_norm.\1"),
    (r"class_labels_classifier\.(.*)", r"HEAD.classes.\1"),
    (r"bbox_predictor\.(.*)", r"HEAD.boxes.\1"),
]  # fmt: skip
YOLOS_RESHAPE = {
    "embedding.projection.weight": lambda x_D3PP: x_D3PP.permute(0, 2, 3, 1).flatten(1),
    "class_token.weight": lambda x_11D: x_11D[0],
    "tokens.weight": lambda x_1QD: x_1QD[0],
    "positions.weight": lambda x_1SD: x_1SD[0],
    "embedding.between": lambda x_N1SD: x_N1SD[:, 0],
}


@pytest.mark.parametrize(("dtype", "allowed"), PRECISIONS)
@pytest.mark.parametrize("between", [True, False])
def test_yolos_is_that_of_transformers(
    between: bool, dtype: torch.dtype, allowed: float, unit_scale: Callable[..., None]
) -> None:
    transformers = pytest.importorskip("transformers")
    settings = transformers.YolosConfig(
        hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=48, image_size=[40, 56], patch_size=8,
        num_detection_tokens=7, use_mid_position_embeddings=between, num_labels=len(LABELS),
    )  # fmt: skip
    theirs = transformers.YolosForObjectDetection(settings).eval()
    trunk = Trunk(
        encoder=Stack(
            width=32, depth=3, attention=Attention(heads=4), position=Position(kind="none"), norm=Norm(epsilon=1e-12),
            feed_forward=FeedForward(width=48),
        )
    )  # fmt: skip
    model = model_of(trunk, patch=8, grid=(5, 7), num_queries=7, between=between, class_layers=3)
    draw(theirs, unit_scale)
    load(model, theirs, YOLOS_ROWS, YOLOS_RESHAPE)
    sizes = [(24, 88), (40, 56), (72, 8), (24, 88)]
    compare(model.to(dtype), theirs.to(dtype), sizes, dtype, allowed)


def test_positions_follow_the_size_of_each_image() -> None:
    short, long = (sine_positions(1, length, 16, torch.zeros(1, dtype=torch.float64)) for length in (2, 8))
    assert torch.allclose(short[-1], long[-1], atol=1e-4)  # the last column is 2 pi
    assert torch.allclose(short[0], long[3], atol=1e-4)  # the middle one is pi
    tall = sine_positions(8, 1, 16, torch.zeros(1, dtype=torch.float64))
    assert torch.equal(tall[:, :8], long[:, 8:])  # rows come first


def test_a_width_that_positions_cannot_fill_is_refused() -> None:
    with pytest.raises(ValueError, match=r"encoder.width is 30; positions in two dimensions need a multiple of 4"):
        DetrEmbedding(nn.Identity(), 8, 30, 32, 3)


def test_a_new_residual_network_keeps_its_scale() -> None:
    torch.manual_seed(0)
    network, channels = residual_network("resnet18", dilation=False)
    with torch.no_grad():
        (found,) = network(torch.randn(2, 3, 64, 96))
    assert found.shape == (2, channels, 2, 3)
    assert 0.1 < float(found.std()) < 10


def test_patches_that_do_not_cover_an_image_are_a_fault() -> None:
    embedding = YolosEmbedding(16, 8, 3, (2, 2))
    parts = {
        "pixels": Part(torch.zeros(8 * 12, 3), Pack.of([8 * 12])),
        "size": Part(torch.tensor([[8, 12]]), Pack.of([1])),
    }
    with pytest.raises(AssertionError, match="patches of 8 do not cover 8 x 12 pixels"):
        embedding(parts)


def count(module: nn.Module) -> int:
    """Numbers in all weights, frozen norms included."""
    return sum(tensor.numel() for tensor in module.state_dict().values())


def test_presets_have_as_many_weights_as_the_models_of_transformers() -> None:
    transformers = pytest.importorskip("transformers")
    with torch.device("meta"):
        theirs = transformers.DetrForObjectDetection(transformers.DetrConfig(num_labels=len(LABELS)))
        assert count(model_of(detection_presets.detr())) == count(theirs)
        for preset, width, heads, between in (
            (detection_presets.yolos_ti, 192, 3, False), (detection_presets.yolos_s, 384, 6, True),
            (detection_presets.yolos_b, 768, 12, True),
        ):  # fmt: skip
            settings = transformers.YolosConfig(
                hidden_size=width, intermediate_size=4 * width, num_attention_heads=heads, num_labels=len(LABELS),
                use_mid_position_embeddings=between,
            )  # fmt: skip
            ours = model_of(preset(), patch=16, grid=(32, 54), between=between, class_layers=3)
            assert count(ours) == count(transformers.YolosForObjectDetection(settings))


def test_everything_builds_without_memory() -> None:
    with torch.device("meta"):
        models = [model_of(detr_trunk(), backbone="resnet50"), build.trunk(detr_trunk())]
    assert all(weight.is_meta for model in models for weight in model.parameters())
