"""Images for anyformer.

| task                        | from -> to                                | built from                                    |
|-----------------------------|-------------------------------------------|-----------------------------------------------|
| vision/image-classification | an image -> a label, a score for each one | Patches, encoder, heads.Classifier            |
| vision/object-detection     | an image -> boxes with labels and scores  | Pixels, encoder (and decoder), DetectionHead  |

| tokenizer      | what it does                                                    |
|----------------|-----------------------------------------------------------------|
| vision/patches | an image -> normalised square patches, and back                 |

| preset           | what it is                                                    |
|------------------|---------------------------------------------------------------|
| vision/vit-b16   | the trunk of ViT-B/16 at 224 pixels (Dosovitskiy et al. 2020) |
| vision/vit-s16   | the trunk of ViT-S/16 at 224 pixels (Touvron et al. 2020)     |
| vision/deit-ti16 | the trunk of DeiT-Ti/16 at 224 pixels (Touvron et al. 2020)   |
| vision/detr      | the trunk of DETR (Carion et al. 2020)                        |
| vision/yolos-ti  | the trunk of YOLOS-Ti (Fang et al. 2021)                      |
| vision/yolos-s   | the trunk of YOLOS-S (Fang et al. 2021)                       |
| vision/yolos-b   | the trunk of YOLOS-B (Fang et al. 2021)                       |

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
    from anyformer.nn.config import Trunk


@hookimpl
def anyformer_tasks() -> Mapping[str, TaskSpec]:
    """The tasks of the table above."""
    return {
        "image-classification": TaskSpec(
            "anyformer_vision.image_classification:ImageClassification", "an image to a label, with a score for each"
        ),
        "object-detection": TaskSpec(
            "anyformer_vision.object_detection:ObjectDetection",
            "an image to boxes around objects, with labels and scores",
        ),
    }


@hookimpl
def anyformer_tokenizers() -> Mapping[str, TokenizerSpec]:
    """The tokenizers of the table above."""
    return {"patches": TokenizerSpec("anyformer_vision.tokenizers:Patches", "an image to normalised square patches")}


@hookimpl
def anyformer_presets() -> Mapping[str, Callable[[], Trunk]]:
    """The presets of the table above."""
    from anyformer_vision import detection_presets, presets

    return {
        "vit-b16": presets.vit_b16,
        "vit-s16": presets.vit_s16,
        "deit-ti16": presets.deit_ti16,
        "detr": detection_presets.detr,
        "yolos-ti": detection_presets.yolos_ti,
        "yolos-s": detection_presets.yolos_s,
        "yolos-b": detection_presets.yolos_b,
    }


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
