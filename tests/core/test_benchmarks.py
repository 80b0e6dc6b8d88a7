"""The documentation's table of inference is what was measured; the arithmetic around a measurement."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def pages(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The pages of the benchmarks, which are no part of the package."""
    monkeypatch.syspath_prepend(ROOT)
    from benchmarks import rounds, table
    from benchmarks.inference import case, limits, translation

    return SimpleNamespace(table=table, case=case, limits=limits, rounds=rounds, translation=translation)


def row(own: float, **more: Any) -> dict[str, Any]:
    """A measured case."""
    rates = {"anyformer": own, "theirs": 2.0, "theirs, sorted": 4.0, "theirs, bf16": 3.0}
    sides = {
        name: {"rate": {"median": rate}, "ratio": {"median": rate / 2, "low": 1.5, "high": 9.0}}
        for name, rate in rates.items()
    }
    kept = {"case": "vit-b", "precision": "fp32", "unit": "images/s", "goal": 1.3, "share": 0.5, "default": "theirs"}
    return kept | {"rows": sides} | more


def test_the_page_has_the_table_of_the_results(pages: Any) -> None:
    text = (ROOT / "docs" / "benchmarks.md").read_text()
    assert pages.table.page(text) == text, "run: uv run python -m benchmarks table"


def test_the_table_names_the_best_of_the_others_and_keeps_the_order_of_the_cases(pages: Any) -> None:
    rows = {"1": row(6.0), "2": row(5.0, case="bert-mixed", precision="bf16"), "3": row(8.0, case="bert-mixed")}
    lines = pages.table.table(rows).splitlines()[2:]
    assert lines[0].startswith("| bert-mixed | fp32 |")
    assert lines[1].startswith("| bert-mixed | bf16 |")
    assert lines[2] == (
        "| vit-b | fp32 | 6 images/s | 2 | **3.00** | 1.50 to 9.00 | 1.30 | theirs, sorted: 4 | 1.50 | 50% |"
    )


def test_a_phase_waits_for_arithmetic_or_for_memory(pages: Any) -> None:
    limits = pages.limits.Limits("bf16", flops=100.0, bytes=10.0)
    arithmetic, memory = pages.limits.Phase(300.0, weights=5), pages.limits.Phase(50.0, weights=20, count=3)
    assert limits.seconds([arithmetic, memory]) == pytest.approx(3.0 + 3 * 4.0)


def test_differences_of_answers(pages: Any) -> None:
    true = [torch.tensor([1.0, -4.0]), torch.tensor([2.0])]
    assert pages.case.relative(true, true) == 0
    assert pages.case.relative([true[0], torch.tensor([3.0])], true) == 0.25
    assert math.isnan(pages.case.relative([true[0], torch.tensor([math.nan])], true))
    assert pages.case.share_of_other_tokens([[1, 2], [3, 4]], [[1, 2], [3, 4]]) == 0
    assert pages.case.share_of_other_tokens([[1, 2], [4]], [[1, 2], [3, 4]]) == 0.5
    assert pages.case.share_of_other_tokens([[1, 2, 3]], [[1, 2]]) > 0


def test_only_translations_that_are_level_in_float64_count_as_the_same(
    pages: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    class Home(torch.nn.Module):
        """Its logits rest on the token before: 2 and 3 are level but for the last bits of fp32, 4 is not."""

        def forward(self, input_ids: torch.Tensor, decoder_input_ids: torch.Tensor) -> Any:
            logits = torch.zeros(*decoder_input_ids.shape, 6, dtype=torch.float64)
            logits[..., 2], logits[..., 3], logits[..., 4] = 1.0, 1.0 + 1e-7, 1.1
            return SimpleNamespace(logits=logits)

    true = [[2, 2], [2, 2], [2, 2]]
    ids = torch.ones(3, 4, dtype=torch.int64)
    apart = pages.translation.share_apart
    assert apart(true, true, Home(), ids) == 0
    assert apart([[2, 2], [2, 3], [2, 2]], true, Home(), ids) == 0
    assert "sentence 1: another translation" in capsys.readouterr().out
    assert apart([[2, 2], [2, 3], [2, 4]], true, Home(), ids) == 1 / 6
    assert apart([[2, 2], [2, 2], [2]], true, Home(), ids) == 1 / 6
