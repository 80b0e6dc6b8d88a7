"""What a run trains: patterns that freeze, adapters, and what they say when they name nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import yaml

from anyformer import api
from anyformer.artifact import Artifact
from anyformer.train.engine import Engine
from anyformer.train.run import Run
from anyformer.train.trainable import trained

NewEngine = Callable[..., Engine]


def moved(engine: Engine, steps: int = 3) -> set[str]:
    before = {name: weight.detach().clone() for name, weight in engine.model.named_parameters()}
    for _ in range(steps):
        engine.advance()
    return {name for name, weight in engine.model.named_parameters() if not torch.equal(weight, before[name])}


def test_frozen_weights_stay_and_the_others_move(new_engine: NewEngine) -> None:
    engine = new_engine("richest", "training.freeze=[trunk.encoder.blocks.0.*, embedding, head.*.bias, '*.key.bias']")
    names = {name for name, _ in engine.model.named_parameters()}
    still = {
        name for name in names
        if name.startswith(("trunk.encoder.blocks.0.", "components.letters/richest.embedding."))
        or name.endswith("key.bias") or (".head." in name and name.endswith(".bias"))
    }  # fmt: skip
    assert still
    assert moved(engine) == names - still
    assert {name.removeprefix("optimizer/").rpartition("/")[0] for name in engine.tensors() if "exp_avg" in name} == (
        names - still
    )


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("training.freeze=[trunk.encoder.block.0]", "training.freeze: no weight matches 'trunk.encoder.block.0' (did you"),
        ("training.freeze=[embeding]", "no weight matches 'embeding' (did you mean 'embedding'?); there are: "),
        ("training.freeze=['*']", "training.freeze leaves no weight to train; leave a pattern out"),
        ("training.lora.targets=[querry]",
         "training.lora.targets: no linear layer of the trunk is called 'querry' (did you mean 'query'?); there are: "
         "query, key, value, output, up, down"),
        ("training.precision=fp16", "training.precision=fp16 needs a GPU; on the CPU take bf16 or fp32"),
    ],
)  # fmt: skip
def test_what_cannot_be_trained_is_one_line_and_leaves_nothing(
    begin: Callable[..., Run], tmp_path: Path, override: str, said: str
) -> None:
    with pytest.raises(ValueError, match="training") as raised:
        begin(tmp_path / "run", override)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)
    assert list(tmp_path.iterdir()) == []


def test_adapters_and_the_head_alone_are_trained(new_engine: NewEngine) -> None:
    engine = new_engine("richest", "training.lora={rank: 3, targets: [query, feed_forward.up]}")
    expected = {
        f"trunk.encoder.blocks.{block}.{layer}.adapter_{half}"
        for block in range(2) for layer in ("attention.query", "feed_forward.up") for half in ("down", "up")
    }  # fmt: skip
    expected |= {name for name, _ in engine.model.named_parameters() if ".head." in name}
    assert {name for name, weight in engine.model.named_parameters() if weight.requires_grad} == expected
    assert moved(engine, 4) == expected


def test_a_head_that_shares_the_table_leaves_it_frozen(new_engine: NewEngine) -> None:
    engine = new_engine("reverse", "training.lora={}")
    table = [name for name, weight in engine.model.named_parameters() if name.endswith("table.weight")]
    assert table
    found = moved(engine)
    assert not found & set(table)
    assert [name for name in found if "cross.query.adapter_up" in name]


def test_the_share_of_trained_weights_is_in_the_page(begin: Callable[..., Run], tmp_path: Path) -> None:
    run = begin(tmp_path / "run", "training.lora.rank=2", "training.steps=1")
    page = yaml.safe_load((run.folder / "run.yaml").read_text())
    (said,) = page["start"]
    count, total = (int(word.replace(",", "")) for word in said.split()[1:4:2])
    assert said == f"trained: {count:,} of {total:,} weights, {count / total:.2%}"
    head = sum(w.numel() for name, w in api.load(run.folder).model.named_parameters() if ".head." in name)
    assert count == head + 2 * 2 * 2 * (16 + 16)  # two blocks, two layers, two halves of two times 16
    assert total == page["parameters"] + count - head


def test_all_weights_is_nothing_to_say(letters: ModuleType, new_letters_model: Callable[..., Artifact]) -> None:
    model: Any = new_letters_model("richest").model
    assert trained(model) is None
