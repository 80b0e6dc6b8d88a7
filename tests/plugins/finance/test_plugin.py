from __future__ import annotations

import re
from fnmatch import fnmatch

import numpy as np
import pytest

import anyformer_finance
from anyformer.nn.config import Trunk
from anyformer.task import Demo, resolve
from anyformer_finance.forecast import Forecast
from anyformer_finance.presets import MAX_PATCHES


def test_every_target_of_the_page_resolves() -> None:
    assert resolve(anyformer_finance.anyformer_tasks()["forecast"].target) is Forecast
    for spec in anyformer_finance.anyformer_tokenizers().values():
        assert resolve(spec.target).Config()
    page = anyformer_finance.__doc__ or ""
    names = [*anyformer_finance.anyformer_tasks(), *anyformer_finance.anyformer_tokenizers()]
    assert all(f"finance/{name}" in page for name in names)
    rows = re.findall(r"\| finance/(\S+)", page)
    assert all(any(fnmatch(name, row) for row in rows) for name in anyformer_finance.anyformer_presets())


def test_a_run_starts_from_the_small_preset() -> None:
    assert Trunk.model_validate(Forecast.default_trunk) == anyformer_finance.anyformer_presets()["patch-small"]()


@pytest.mark.parametrize(("name", "width", "inner"), [("patch-small", 16, 128), ("patch-base", 128, 256)])
def test_presets_have_the_published_sizes(name: str, width: int, inner: int) -> None:
    stack = anyformer_finance.anyformer_presets()[name]().encoder
    assert (stack.depth, stack.width, stack.inner_width, stack.head_width) == (
        3,
        width,
        inner,
        width // stack.attention.heads,
    )
    assert stack.position.length == MAX_PATCHES


def test_the_demo_holds_out_later_targets_only() -> None:
    demo = resolve(Forecast.demo or "")()
    assert isinstance(demo, Demo)
    look_back = demo.settings["config.look_back"]
    assert list(demo.valid[:look_back]) == list(demo.train[-look_back:])
    first_target, last_trained = demo.valid[look_back]["date"], demo.train[-1]["date"]
    assert first_target > last_trained
    numbers = np.array([[float(row["log_range"]), float(row["log_volume"])] for row in [*demo.train, *demo.valid]])
    assert np.isfinite(numbers).all()
