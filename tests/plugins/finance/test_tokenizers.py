from __future__ import annotations

import numpy as np
import pytest

from anyformer_finance.tokenizers import Patches


def test_the_published_patches() -> None:
    patches = Patches(Patches.Config())
    found = patches.encode(np.arange(336))["patches"]
    assert found.shape == (42, 16) == (patches.count(336), patches.patch_width)
    assert found.dtype == np.float32
    assert found[1].tolist() == list(range(8, 24))
    assert found[-1].tolist() == [*range(328, 336), *[335] * 8]


@pytest.mark.parametrize(("length", "stride", "size"), [(16, 8, 100), (5, 3, 5), (4, 4, 10), (7, 2, 20), (1, 1, 3)])
def test_every_value_is_in_a_patch(length: int, stride: int, size: int) -> None:
    patches = Patches(Patches.Config(length=length, stride=stride))
    found = patches.encode(np.arange(size))["patches"]
    assert len(found) == patches.count(size)
    assert set(found.ravel().tolist()) == set(range(size))


@pytest.mark.parametrize(("length", "stride", "size"), [(7, 4, 33), (7, 7, 33), (16, 8, 336), (5, 3, 5)])
def test_without_lengthening_patches_end_where_the_series_does(length: int, stride: int, size: int) -> None:
    patches = Patches(Patches.Config(length=length, stride=stride, lengthen=False))
    found = patches.encode(np.arange(size))["patches"]
    assert len(found) == patches.count(size) == (size - length) // stride + 1
    assert found[:, -1].tolist() == list(range(size - 1, -1, -stride))[: len(found)][::-1]


def test_series_cut_together_equal_series_cut_alone() -> None:
    patches = Patches(Patches.Config(length=8, stride=4))
    values = np.random.default_rng(0).normal(size=(3, 50))
    for together, alone in zip(patches.cut(values), values, strict=True):
        np.testing.assert_array_equal(together, patches.encode(alone)["patches"])


def test_errors() -> None:
    with pytest.raises(ValueError, match="10 values are shorter than one patch of 16; give more, or a shorter patch"):
        Patches(Patches.Config()).encode(np.arange(10))
    with pytest.raises(ValueError, match=r"one list of finite numbers; got shape \[2, 20\] or missing values"):
        Patches(Patches.Config()).encode(np.zeros((2, 20)))
    with pytest.raises(ValueError, match="a stride of 9 skips values between patches of 8; set a stride of at most 8"):
        Patches(Patches.Config(length=8, stride=9))
