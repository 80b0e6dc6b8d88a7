"""Images for anyformer.

| task                        | from -> to                                | built from                          |
|-----------------------------|-------------------------------------------|-------------------------------------|
| vision/image-classification | an image -> a label, a score for each one | Patches, encoder, heads.Classifier  |

| tokenizer      | what it does                                                    |
|----------------|-----------------------------------------------------------------|
| vision/patches | an image -> normalised square patches, and back                 |

| preset           | what it is                                                    |
|------------------|---------------------------------------------------------------|
| vision/vit-b16   | the trunk of ViT-B/16 at 224 pixels (Dosovitskiy et al. 2020) |
| vision/vit-s16   | the trunk of ViT-S/16 at 224 pixels (Touvron et al. 2020)     |
| vision/deit-ti16 | the trunk of DeiT-Ti/16 at 224 pixels (Touvron et al. 2020)   |

| reader  | what it reads                                             |
|---------|-----------------------------------------------------------|
| folder/ | a folder with a folder of images for each class           |
| .zip    | the same, zipped                                          |
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
        )
    }


@hookimpl
def anyformer_tokenizers() -> Mapping[str, TokenizerSpec]:
    """The tokenizers of the table above."""
    return {"patches": TokenizerSpec("anyformer_vision.tokenizers:Patches", "an image to normalised square patches")}


@hookimpl
def anyformer_presets() -> Mapping[str, Callable[[], Trunk]]:
    """The presets of the table above."""
    from anyformer_vision import presets

    return {"vit-b16": presets.vit_b16, "vit-s16": presets.vit_s16, "deit-ti16": presets.deit_ti16}


@hookimpl
def anyformer_readers() -> Mapping[str, str]:
    """The readers of the table above."""
    return {"folder/": "anyformer_vision.readers:folder", ".zip": "anyformer_vision.readers:zipped"}
