"""Adapters: zero at the start, merged without a trace, and resumed bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from anyformer import api
from anyformer.artifact import Artifact
from anyformer.data.packs import collate
from anyformer.nn import Model
from anyformer.train import adapter_files, lora
from anyformer.train.engine import Engine
from anyformer.train.run import Run
from anyformer.train.settings import LoRA

NewEngine = Callable[..., Engine]
RICHEST = "letters/richest"
ASKED = ["training.lora={rank: 3, alpha: 5, dropout: 0.3, targets: [query, value, down]}", "training.save_every=1"]


def output(model: Model, engine: Engine) -> torch.Tensor:
    parts, _ = collate(engine.samples(0), torch.device("cpu"))
    with torch.inference_mode():
        return model.eval().encode(parts, RICHEST)["source"].x_TD


def test_an_adapter_starts_as_nothing(new_engine: NewEngine) -> None:
    plain, adapted = new_engine(), new_engine("richest", *ASKED)
    assert torch.equal(output(plain.model, plain), output(adapted.model, plain))
    assert {adapter.scale for adapter in lora.adapters(adapted.model).values()} == {5 / 3}


def test_merged_it_answers_the_same_and_is_plain(
    new_engine: NewEngine, new_letters_model: Callable[..., Artifact], relative: Callable[..., float]
) -> None:
    engine = new_engine("richest", *ASKED)
    for _ in range(6):
        engine.advance()
    engine.model.double()
    before = output(engine.model, engine)
    lora.merge(engine.model)
    assert relative(output(engine.model, engine), before) < 1e-12
    plain = new_letters_model("richest").model
    assert list(engine.model.state_dict()) == list(plain.state_dict())
    assert [type(module) for module in engine.model.modules()] == [type(module) for module in plain.modules()]
    assert all(weight.requires_grad for weight in engine.model.parameters())


def test_dropout_acts_on_the_adapter_alone(new_engine: NewEngine) -> None:
    """On four parallel passes of one layer: with `up` zero nothing random is left."""
    engine = new_engine("richest", *ASKED)
    layer: Any = engine.model.get_submodule("trunk.encoder.blocks.0.attention.query")
    layer.train()
    x = torch.ones(4, 16)
    assert torch.equal(layer(x)[0], layer(x)[1])
    with torch.no_grad():
        layer.adapter_up.fill_(1.0)
    assert not torch.equal(layer(x)[0], layer(x)[1])


@pytest.mark.parametrize("step", [0, 3, 7, 8])
def test_resumed_it_ends_the_same(
    begin: Callable[..., Run], letters: ModuleType, tmp_path: Path, step: int,
    stopped_at: Callable[..., Path], assert_same: Callable[..., None],
) -> None:  # fmt: skip
    whole = begin(tmp_path / "whole", *ASKED)
    resumed = api.resume(stopped_at(whole, tmp_path / "run", step), data=letters.words(16))
    assert_same(resumed, whole)
    for file in (adapter_files.CONFIG, adapter_files.WEIGHTS):
        assert (resumed.folder / "adapter" / file).read_bytes() == (whole.folder / "adapter" / file).read_bytes()


def test_the_artifact_is_plain_and_the_adapter_makes_it_from_its_base(
    begin: Callable[..., Run], letters: ModuleType, tmp_path: Path, relative: Callable[..., float]
) -> None:
    base = begin(tmp_path / "base")
    run = begin(tmp_path / "run", *ASKED, "training.optimizer.lr=0.05", model=base.folder)
    model, again = api.load(run.folder).model, api.load(base.folder).model
    assert not lora.adapters(model)
    adapter_files.read(run.folder / "adapter", again)
    assert len(lora.adapters(again)) == 6
    lora.merge(again)
    for name, tensor in model.state_dict().items():
        assert relative(again.state_dict()[name], tensor) < 1e-6, name


def test_an_adapter_that_does_not_fit(new_engine: NewEngine, tmp_path: Path) -> None:
    def refused(model: Model) -> str:
        with pytest.raises(ValueError, match=r"adapter|weight") as raised:
            adapter_files.read(tmp_path / "adapter", model)
        assert "\n" not in str(raised.value)
        return str(raised.value)

    engine = new_engine("richest", *ASKED)
    assert "holds no adapter that can be read" in refused(engine.model)
    adapter_files.write(tmp_path / "adapter", adapter_files.learned(engine.model, LoRA()))
    wide = new_engine("richest", "trunk.encoder.width=32").model
    assert "shape" in refused(wide)
    shallow = new_engine("richest", "trunk.encoder.depth=1").model
    assert "which the model does not know" in refused(shallow)
    config = tmp_path / "adapter" / adapter_files.CONFIG
    text = config.read_text()
    plain = new_engine().model
    for old, new, said in (
        ('"LORA"', '"LOHA"', "is of the kind 'LOHA'; read is 'LORA'"),
        ('"none"', '"all"', "'bias' is 'all'; read is 'none'"),
        ('"lora_alpha": 5.0', '"lora_alpha": null', "it must be a number"),
        ('"alpha_pattern": {}', '"alpha_pattern": {"(a+)+": 1}', "'alpha_pattern' has '(a+)+'"),
    ):
        assert old in text
        config.write_text(text.replace(old, new))
        assert said in refused(plain)
