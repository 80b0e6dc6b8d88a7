from __future__ import annotations

import re
from fnmatch import fnmatch

import pytest

import anyformer_vision
from anyformer.preset import Preset, count
from anyformer.task import resolve
from anyformer_vision import anyformer_presets, anyformer_readers, anyformer_tasks, anyformer_tokenizers
from anyformer_vision.detr import residual_network

PUBLISHED = {
    "vit-b16": 86_567_656,
    "vit-b32": 88_224_232,
    "vit-l16": 304_326_632,
    "vit-l32": 306_535_400,
    "vit-h14": 632_045_800,
    "vit-s16": 22_050_664,
    "deit-ti16": 5_717_416,
    "deit-s16": 22_050_664,
    "deit-b16": 86_567_656,
    "vit-lite-6-4": 3_190_538,
    "vit-lite-7-4": 3_716_874,
    "vit-cifar": 6_268_810,
    "detr-r50": 41_524_768,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_are_as_many_as_published(name: str) -> None:
    assert count(anyformer_presets()[name]()) == PUBLISHED[name]


def test_every_whole_model_is_in_the_table_and_says_what_it_is() -> None:
    presets = anyformer_presets()
    assert {name for name, function in presets.items() if isinstance(function(), Preset)} == set(PUBLISHED)
    assert all(function.__doc__ for function in presets.values())
    page = re.findall(r"\| vision/(\S+)", anyformer_vision.__doc__ or "")
    assert all(any(fnmatch(name, pattern) for pattern in page) for name in presets)


def test_detr_trains_all_but_the_stem_and_the_first_stage() -> None:
    network, _ = residual_network("resnet50", dilation=False)
    kept = sum(weight.numel() for name, weight in network.named_parameters() if not re.match("layer[234]", name))
    assert PUBLISHED["detr-r50"] - kept == 41_302_368


def test_every_target_resolves() -> None:
    for spec in [*anyformer_tasks().values(), *anyformer_tokenizers().values()]:
        assert isinstance(resolve(spec.target), type)
        assert "\n" not in spec.summary
    for target in anyformer_readers().values():
        assert callable(resolve(target))
