"""Images for anyformer.

| task                        | from -> to                                | built from                                    |
|-----------------------------|-------------------------------------------|-----------------------------------------------|
| vision/image-classification | an image -> a label, a score for each one | Patches, encoder, heads.Classifier            |
| vision/image-embedding      | an image -> a vector, and a label         | Patches, encoder, ImageVector                 |
| vision/object-detection     | an image -> boxes with labels and scores  | Pixels, encoder (and decoder), DetectionHead  |

| tokenizer      | what it does                                                    |
|----------------|-----------------------------------------------------------------|
| vision/patches | an image -> normalised square patches, and back                 |
| vision/pixels  | an image -> its normalised pixels, whatever its size            |

| family                                                  | whose checkpoints, and what they serve                |
|---------------------------------------------------------|-------------------------------------------------------|
| vision/vit, vision/deit, vision/dinov2                  | of transformers: image classification, embedding      |
| vision/timm-vit, vision/timm-deit-distilled             | of timm: image classification, embedding              |
| vision/timm-vit-bare, vision/timm-deit-distilled-bare   | of timm, without a head: image embedding              |
| vision/detr, vision/yolos                               | of transformers: object detection                     |

| preset           | what it is                                                                            |
|------------------|---------------------------------------------------------------------------------------|
| vision/vit-*     | ViT (Dosovitskiy et al. 2020) at 224 pixels: b16, b32, l16, l32, h14, s16             |
| vision/deit-*    | DeiT (Touvron et al. 2020) at 224 pixels: ti16, s16, b16                              |
| vision/vit-lite* | for CIFAR-10 (Hassani et al. 2021): vit-lite-6-4, vit-lite-7-4                        |
| vision/vit-cifar | for CIFAR-10 (omihub777/ViT-CIFAR)                                                    |
| vision/detr-r50  | DETR on ResNet-50 (Carion et al. 2020)                                                |
| vision/yolos-*   | the trunk of YOLOS (Fang et al. 2021): ti, s, b                                       |

| reader     | what it reads                                                                      |
|------------|------------------------------------------------------------------------------------|
| folder/    | a folder with a folder of images for each class, or images and boxes of any format |
| .zip       | the same, zipped                                                                   |
| .coco.json | boxes of a COCO file, and the images near it                                       |
| coco       | the same, whatever the file is called                                              |
| voc        | boxes of a Pascal VOC folder, a zip of one, or a list of names in one              |
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from anyformer import TaskSpec, TokenizerSpec, hookimpl

if TYPE_CHECKING:
    from anyformer.families import Family
    from anyformer.nn.config import Trunk
    from anyformer.preset import Preset


@hookimpl
def anyformer_tasks() -> Mapping[str, TaskSpec]:
    """The tasks of the table above."""
    return {
        "image-classification": TaskSpec(
            "anyformer_vision.image_classification:ImageClassification", "an image to a label, with a score for each"
        ),
        "image-embedding": TaskSpec(
            "anyformer_vision.image_embedding:ImageEmbedding", "an image to a vector, and a label learned from it"
        ),
        "object-detection": TaskSpec(
            "anyformer_vision.object_detection:ObjectDetection",
            "an image to boxes around objects, with labels and scores",
        ),
    }


@hookimpl
def anyformer_tokenizers() -> Mapping[str, TokenizerSpec]:
    """The tokenizers of the table above."""
    return {
        "patches": TokenizerSpec("anyformer_vision.tokenizers:Patches", "an image to normalised square patches"),
        "pixels": TokenizerSpec("anyformer_vision.detection_tokenizer:Pixels", "an image to pixels, at its own size"),
    }


@hookimpl
def anyformer_families() -> Mapping[str, Family]:
    """The checkpoint layouts of the table above."""
    from anyformer_vision.families import FAMILIES

    return FAMILIES


@hookimpl
def anyformer_presets() -> Mapping[str, Callable[[], Preset | Trunk]]:
    """The presets of the table above."""
    from anyformer_vision.presets import PRESETS

    return PRESETS


@hookimpl
def anyformer_readers() -> Mapping[str, str]:
    """The readers of the table above."""
    return {
        "folder/": "anyformer_vision.formats:folder",
        ".zip": "anyformer_vision.formats:zipped",
        ".coco.json": "anyformer_vision.coco:coco",
        "coco": "anyformer_vision.coco:coco",
        "voc": "anyformer_vision.voc:voc",
    }
