"""Published vision transformers, as functions that return a configuration.

* ViT: Dosovitskiy et al. 2020, https://arxiv.org/abs/2010.11929; DeiT: Touvron et al. 2020, https://arxiv.org/abs/2012.12877,
  without distillation. They read a class token, which has a position, and tell 1,000 classes of images of 224 pixels.
* ViT-Lite: Hassani et al. 2021, https://arxiv.org/abs/2104.05704, for CIFAR-10. The published code norms the residual stream
  itself after attention; here a norm stands before each half block, with as many weights.
* DETR: Carion et al. 2020, https://arxiv.org/abs/2005.12872. Its paper trains 41,302,368 of the 41,524,768 parameters: the
  stem and the first stage of the residual network stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable

from anyformer.nn.config import Attention, FeedForward, Norm, Position, Stack, Trunk
from anyformer.preset import Preset
from anyformer_vision import detection_presets

Moments = tuple[tuple[float, float, float], tuple[float, float, float]]
"""Mean and standard deviation of red, green and blue, 0 to 255."""
HALVES: Moments = ((127.5, 127.5, 127.5), (127.5, 127.5, 127.5))
IMAGENET: Moments = ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
CIFAR: Moments = ((125.307, 122.961, 113.858), (62.985, 62.093, 66.708))


def vit_b16() -> Preset:
    """ViT-B/16 at 224 pixels (Dosovitskiy et al. 2020): 12 blocks of width 768, 12 heads."""
    return _imagenet(width=768, depth=12, heads=12, patch=16)


def vit_b32() -> Preset:
    """ViT-B/32 at 224 pixels (Dosovitskiy et al. 2020): 12 blocks of width 768, 12 heads."""
    return _imagenet(width=768, depth=12, heads=12, patch=32)


def vit_l16() -> Preset:
    """ViT-L/16 at 224 pixels (Dosovitskiy et al. 2020): 24 blocks of width 1,024, 16 heads."""
    return _imagenet(width=1024, depth=24, heads=16, patch=16)


def vit_l32() -> Preset:
    """ViT-L/32 at 224 pixels (Dosovitskiy et al. 2020): 24 blocks of width 1,024, 16 heads."""
    return _imagenet(width=1024, depth=24, heads=16, patch=32)


def vit_h14() -> Preset:
    """ViT-H/14 at 224 pixels (Dosovitskiy et al. 2020): 32 blocks of width 1,280, 16 heads."""
    return _imagenet(width=1280, depth=32, heads=16, patch=14)


def vit_s16() -> Preset:
    """ViT-S/16 at 224 pixels (Steiner et al. 2021): 12 blocks of width 384, 6 heads."""
    return _imagenet(width=384, depth=12, heads=6, patch=16)


def deit_ti16() -> Preset:
    """DeiT-Ti/16 at 224 pixels (Touvron et al. 2020): 12 blocks of width 192, 3 heads."""
    return _imagenet(width=192, depth=12, heads=3, patch=16, moments=IMAGENET)


def deit_s16() -> Preset:
    """DeiT-S/16 at 224 pixels (Touvron et al. 2020): 12 blocks of width 384, 6 heads."""
    return _imagenet(width=384, depth=12, heads=6, patch=16, moments=IMAGENET)


def deit_b16() -> Preset:
    """DeiT-B/16 at 224 pixels (Touvron et al. 2020): 12 blocks of width 768, 12 heads."""
    return _imagenet(width=768, depth=12, heads=12, patch=16, moments=IMAGENET)


def vit_lite_6_4() -> Preset:
    """ViT-Lite-6/4 for CIFAR-10 (Hassani et al. 2021): 6 blocks of width 256, 4 heads."""
    return _cifar(width=256, depth=6, heads=4, inner_width=512, bias=False)


def vit_lite_7_4() -> Preset:
    """ViT-Lite-7/4 for CIFAR-10 (Hassani et al. 2021): 7 blocks of width 256, 4 heads."""
    return _cifar(width=256, depth=7, heads=4, inner_width=512, bias=False)


def vit_cifar() -> Preset:
    """The ViT of omihub777/ViT-CIFAR on GitHub, for CIFAR-10: 7 blocks of width 384, 12 heads."""
    return _cifar(width=384, depth=7, heads=12, inner_width=384)


def _imagenet(width: int, depth: int, heads: int, patch: int, moments: Moments = HALVES) -> Preset:
    return _preset(width, depth, Attention(heads=heads), 4 * width, 224, patch, moments, 1000)


def _cifar(width: int, depth: int, heads: int, inner_width: int, bias: bool = True) -> Preset:
    return _preset(width, depth, Attention(heads=heads, bias=bias), inner_width, 32, 4, CIFAR, 10)


def _preset(
    width: int, depth: int, attention: Attention, inner_width: int, side: int, patch: int, moments: Moments,
    num_classes: int,
) -> Preset:  # fmt: skip
    encoder = Stack(
        width=width,
        depth=depth,
        attention=attention,
        position=Position(kind="learned", length=1 + (side // patch) ** 2),
        feed_forward=FeedForward(width=inner_width),
        norm=Norm(place="pre", epsilon=1e-6),
    )
    mean, std = moments
    return Preset(
        trunk=Trunk(encoder=encoder),
        task="vision/image-classification",
        config={"class_tokens": 1, "pooling": "first"},
        state={"labels": [str(index) for index in range(num_classes)]},
        tokenizer="vision/patches",
        tokenizer_config={"size": (side, side), "patch": patch, "mode": "RGB", "mean": mean, "std": std},
    )


def detr_r50() -> Preset:
    """DETR on ResNet-50 (Carion et al. 2020): 6 + 6 blocks of width 256, 8 heads, 100 queries, 91 classes and none."""
    return Preset(
        trunk=detection_presets.detr(),
        task="vision/object-detection",
        config={"num_queries": 100, "backbone": "resnet50"},
        state={"labels": [str(index) for index in range(91)]},
        tokenizer="vision/pixels",
        tokenizer_config={"shortest": 800, "longest": 1333, "multiple": 1},
    )


PRESETS: dict[str, Callable[[], Preset | Trunk]] = {
    "vit-b16": vit_b16, "vit-b32": vit_b32, "vit-l16": vit_l16, "vit-l32": vit_l32, "vit-h14": vit_h14,
    "vit-s16": vit_s16, "deit-ti16": deit_ti16, "deit-s16": deit_s16, "deit-b16": deit_b16,
    "vit-lite-6-4": vit_lite_6_4, "vit-lite-7-4": vit_lite_7_4, "vit-cifar": vit_cifar, "detr-r50": detr_r50,
    "yolos-ti": detection_presets.yolos_ti, "yolos-s": detection_presets.yolos_s, "yolos-b": detection_presets.yolos_b,
}  # fmt: skip
