from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from anyformer_vision.augment import Augmentation, augment, erase, shift

RNG = np.random.default_rng(5)
IMAGES = [RNG.integers(0, 256, shape, dtype=np.uint8) for shape in ((28, 28, 1), (9, 14, 3), (8, 8, 1))]
EVERYTHING = [Augmentation(policy=policy, erase=1) for policy in ("none", "randaugment", "trivialaugment")]


@pytest.mark.parametrize("settings", EVERYTHING)
def test_the_generator_decides_everything_and_shapes_stay(settings: Augmentation) -> None:
    for image in IMAGES:
        before, seen = image.copy(), set()
        for seed in range(20):
            one, again = (augment(image, settings, np.random.default_rng(seed)) for _ in range(2))
            np.testing.assert_array_equal(one, again)
            assert (one.shape, one.dtype) == (image.shape, np.uint8)
            seen.add(one.tobytes())
        np.testing.assert_array_equal(image, before)
        assert len(seen) > 10


def test_nothing_asked_for_is_nothing_done() -> None:
    nothing = Augmentation(flip=False, shift=0, erase=0)
    assert augment(IMAGES[0], nothing, np.random.default_rng(0)) is IMAGES[0]


def test_policies_leave_torchs_generator_alone() -> None:
    import torch

    state = torch.get_rng_state()
    for seed in range(10):
        augment(IMAGES[0], EVERYTHING[1], np.random.default_rng(seed))
    assert torch.equal(torch.get_rng_state(), state)


def test_flip_mirrors_half_of_the_images() -> None:
    settings, rng = Augmentation(shift=0, erase=0), np.random.default_rng(0)
    flipped = [np.array_equal(augment(IMAGES[1], settings, rng), IMAGES[1][:, ::-1]) for _ in range(400)]
    assert 150 < sum(flipped) < 250


def test_shift_moves_by_whole_pixels_and_repeats_the_edge() -> None:
    image, rng = IMAGES[0], np.random.default_rng(0)
    padded = np.pad(image, ((3, 3), (3, 3), (0, 0)), mode="edge")
    possible = {padded[y : y + 28, x : x + 28].tobytes() for y in range(7) for x in range(7)}
    found = {shift(image, 0.1, rng).tobytes() for _ in range(1000)}
    assert found == possible


def test_erase_changes_one_rectangle_of_bounded_area() -> None:
    rng = np.random.default_rng(0)
    for image in IMAGES:
        for _ in range(200):
            rows, columns, _ = np.nonzero(erase(image, rng) != image)
            height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
            assert height * width <= 0.45 * image.shape[0] * image.shape[1]  # 0.33, and rounding of both sides


@pytest.mark.parametrize(("policy", "num_operations"), [("randaugment", 2), ("trivialaugment", 1)])
def test_policies_give_what_torchvisions_own_classes_give(policy: Any, num_operations: int) -> None:
    import torch
    from torchvision.transforms import v2

    image = IMAGES[1]
    theirs = v2.TrivialAugmentWide() if policy == "trivialaugment" else v2.RandAugment(num_operations, magnitude=9)
    tensor = torch.from_numpy(image.transpose(2, 0, 1).copy())
    settings, rng = Augmentation(policy=policy, flip=False, shift=0, erase=0), np.random.default_rng(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        reference = {theirs(tensor).numpy().transpose(1, 2, 0).tobytes() for _ in range(6000)}
    ours = [augment(image, settings, rng).tobytes() for _ in range(1000)]
    assert len(set(ours)) > 100
    assert np.mean([one in reference for one in ours]) > 0.97  # theirs round levels to float32
