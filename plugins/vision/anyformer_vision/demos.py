"""What `anyformer demo` trains for vision: real images that scikit-learn carries, so nothing is downloaded."""

from __future__ import annotations

from typing import Any

import numpy as np

from anyformer.task import Demo

NUM_VALID = 360


def digits() -> Demo:
    """Handwritten digits of 8 x 8 pixels, split by a fixed permutation."""
    try:
        from sklearn.datasets import load_digits
    except ModuleNotFoundError:
        raise ValueError("this demo needs scikit-learn: pip install 'anyformer-vision[demo]'") from None
    data = load_digits()
    images = np.rint(data.images * (255 / 16)).astype(np.uint8)  # as it comes, white is 16
    order = np.random.default_rng(0).permutation(len(images))
    rows: list[dict[str, Any]] = [{"image": images[place], "label": str(data.target[place])} for place in order]
    return Demo(
        data="1,797 handwritten digits of 8 x 8 pixels (UCI, Alpaydin and Kaynak 1998), from scikit-learn",
        train=rows[NUM_VALID:],
        valid=rows[:NUM_VALID],
        settings={
            "tokenizers": {"image": {"patch": 2}},
            "config": {"augmentation": {"flip": False, "shift": 0}},
            "trunk": {"encoder": {"depth": 2}},
            "training": {"steps": 600},
        },
    )
