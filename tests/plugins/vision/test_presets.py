from __future__ import annotations

import pytest

from anyformer.task import resolve
from anyformer_vision import anyformer_presets, anyformer_readers, anyformer_tasks, anyformer_tokenizers


@pytest.mark.parametrize(
    ("name", "num_classes", "width", "published"),
    [("vit-b16", 1000, 768, 86_567_656), ("vit-s16", 1000, 384, 22_050_664), ("deit-ti16", 1000, 192, 5_717_416)],
)
def test_weights_are_as_many_as_published(name: str, num_classes: int, width: int, published: int) -> None:
    import torch

    from anyformer.nn import build

    settings = anyformer_presets()[name]()
    with torch.device("meta"):
        trunk = sum(weight.numel() for weight in build.trunk(settings).parameters())
    positions = (settings.encoder.position.length + 1) * width  # theirs have one for the class token
    patches, token, classes = (16 * 16 * 3 + 1) * width, width, (width + 1) * num_classes
    assert trunk + positions + patches + token + classes == published


def test_every_target_resolves() -> None:
    for spec in [*anyformer_tasks().values(), *anyformer_tokenizers().values()]:
        assert isinstance(resolve(spec.target), type)
        assert "\n" not in spec.summary
    for target in anyformer_readers().values():
        assert callable(resolve(target))
