"""Masked patches: what the encoder sees, that it sees nothing else, and where the decoder puts it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from anyformer.artifact import build_model
from anyformer.data.packs import collate
from anyformer.nn import Model, Pack, config
from anyformer.objectives import MaskedPatch
from anyformer.objectives.masked_patch import Decoder
from anyformer.task import Array, Frozen, Sample, Tokenizer

WIDTH = 3


class Rows(Tokenizer):
    """Raw items are patches already."""

    patch_width = WIDTH

    def __init__(self, **attributes: Any) -> None:
        super().__init__(Frozen())
        for name, value in attributes.items():
            setattr(self, name, value)

    def encode(self, raw: Any) -> dict[str, Array]:
        return {"patches": np.array(raw, np.float32).reshape(-1, self.patch_width)}


def objective_of(**settings: Any) -> MaskedPatch:
    small = Decoder(width=8, depth=1, attention=config.Attention(heads=2))
    return MaskedPatch(MaskedPatch.Config(**{"decoder": small} | settings), Rows())


def trunk_of(**position: Any) -> config.Trunk:
    place = config.Position(**{"kind": "learned", "length": 40} | position)
    return config.Trunk(encoder=config.Stack(width=8, depth=2, attention=config.Attention(heads=2), position=place))


def patches_of(length: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=(length, WIDTH)).astype(np.float32)


def learn(objective: MaskedPatch, patches: Array, seed: int = 0) -> Sample:
    (sample,) = objective.learn({"patches": patches}, np.random.default_rng(seed))
    return sample


def model_of(objective: MaskedPatch, trunk: config.Trunk, unit_scale: Any) -> Model:
    model = build_model(trunk, {"masked-patch": objective}).double()
    unit_scale(model)
    return model


# -- samples


@pytest.mark.parametrize("rate", [0.75, 0.3])
@pytest.mark.parametrize("length", [2, 3, 16, 33])
def test_seen_and_hidden_patches_are_all_patches(length: int, rate: float) -> None:
    patches = patches_of(length)
    sample = learn(objective_of(rate=rate), patches)
    seen, hidden = sample.parts["source_positions"], sample.parts["hidden_positions"]
    assert sorted([*seen.tolist(), *hidden.tolist()]) == list(range(length))
    assert len(hidden) == max(1, min(round(rate * length), length - 1))
    assert (sample.parts["source"] == patches[seen]).all()
    assert (sample.targets["patches"] == patches[hidden]).all()
    assert sample.cost == length


def test_every_patch_is_hidden_as_often() -> None:
    hidden = [learn(objective_of(), patches_of(12), seed).parts["hidden_positions"] for seed in range(800)]
    assert abs(np.bincount(np.concatenate(hidden)) / 800 - 0.75).max() < 0.07


@pytest.mark.parametrize("scaled", [True, False])
def test_hidden_patches_do_not_reach_the_parts(scaled: bool) -> None:
    objective, patches = objective_of(scaled=scaled), 50 + 7 * patches_of(16)
    first = learn(objective, patches)
    other = patches.copy()
    other[first.parts["hidden_positions"]] = 1e4
    second = learn(objective, other)
    for name, part in first.parts.items():
        assert (part == second.parts[name]).all(), name
    if scaled:
        assert abs(first.parts["source"].mean()) < 1e-5
        assert abs(first.parts["source"].std() - 1) < 1e-5
        level = learn(objective, np.full((8, WIDTH), 1e6, np.float32))
        assert (level.targets["patches"] == 0).all()


def test_records_are_items_or_windows_of_them() -> None:
    raw = [{"values": list(range(WIDTH * length))} for length in (5, 1, 12)]
    whole = objective_of().records(raw)
    assert [len(whole[index]["patches"]) for index in range(len(whole))] == [5, 1, 12]
    assert [len(record["patches"]) for record in objective_of(context=5).records(raw)] == [5, 1, 5, 5, 2]
    assert objective_of().learn(whole[1], np.random.default_rng(0)) == [], "one patch has no other to tell it from"


# -- model


@pytest.mark.parametrize("position", [{"kind": "learned"}, {"kind": "sinusoidal"}, {"kind": "rotary"}])
def test_hidden_patches_cost_the_encoder_nothing_and_positions_stay(position: Any, unit_scale: Any) -> None:
    objective = objective_of()
    model = model_of(objective, trunk_of(**position), unit_scale)
    sample = learn(objective, patches_of(16))
    parts, targets = collate([sample])
    stream = model.encode(parts, "masked-patch")["source"]
    assert stream.x_TD.shape == (4, 8)
    assert stream.pack.positions.tolist() == sample.parts["source_positions"].tolist()
    moved = {**sample.parts, "source_positions": np.arange(4)}
    there = model.encode(collate([Sample(moved)])[0], "masked-patch")["source"]
    assert (there.x_TD - stream.x_TD).abs().max() > 1e-3, "the encoder knows where the patches were"
    assert model(parts, targets, "masked-patch")["loss"] > 0


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.75, 0.9])
def test_seen_and_hidden_patches_are_one_pack_again(rate: float) -> None:
    objective = objective_of(rate=rate)
    lengths = [7, 2, 33, 32, 5]
    model = build_model(trunk_of(), {"masked-patch": objective})
    parts, _ = collate([learn(objective, patches_of(length)) for length in lengths])
    seen: Any = model["masked-patch"].embedding(parts)["source"].pack
    found, true = seen.whole, Pack.of(lengths)
    assert (found.longest, found.furthest, seen.furthest) == (33, 33, 33)
    for name in ("bounds", "offsets", "positions"):
        assert torch.equal(getattr(found, name).long(), getattr(true, name).long()), name


@pytest.mark.parametrize("kind", ["sinusoidal", "learned", "rotary", "relative", "alibi"])
def test_a_batch_answers_as_each_alone(kind: Any, unit_scale: Any, relative: Any) -> None:
    decoder = Decoder(width=8, depth=1, attention=config.Attention(heads=2), position=config.Position(kind=kind))
    objective = objective_of(decoder=decoder)
    model = model_of(objective, trunk_of(), unit_scale)
    samples = [learn(objective, patches_of(length, length), length) for length in (2, 16, 9, 31)]

    def found(group: list[Sample]) -> list[np.ndarray]:
        streams = model.encode(collate(group)[0], "masked-patch")
        head = model["masked-patch"].head
        return [prediction.values["patches"] for prediction in head.split(head(streams), streams)]

    with torch.no_grad():
        for one, together in zip(samples, found(samples), strict=True):
            assert together.shape == one.targets["patches"].shape
            assert relative(torch.tensor(together), torch.tensor(found([one])[0])) < 1e-5


def test_predictions_belong_to_their_places(unit_scale: Any) -> None:
    """Of all predictions, the one at a place is the one whose position is asked: asked in another order, they follow."""
    objective = objective_of()
    model = model_of(objective, trunk_of(), unit_scale)
    sample = learn(objective, patches_of(16))
    head = model["masked-patch"].head
    order = np.random.default_rng(1).permutation(12)
    turned = {**sample.parts, "hidden_positions": sample.parts["hidden_positions"][order]}
    first, second = (
        head(model.encode(collate([Sample(parts)])[0], "masked-patch")) for parts in (sample.parts, turned)
    )
    assert torch.allclose(first[torch.from_numpy(order)], second)
    assert len(torch.unique(first, dim=0)) == 12, "and they differ"
    streams = model.encode(collate([sample])[0], "masked-patch")
    assert torch.allclose(head(streams, at=torch.tensor([3, 1])), first[[3, 1]])


@pytest.mark.parametrize("normalised", [True, False])
def test_the_loss_is_the_error_per_patch(normalised: bool, unit_scale: Any) -> None:
    objective = objective_of(normalised=normalised)
    model = model_of(objective, trunk_of(), unit_scale)
    sample = learn(objective, 5 + 2 * patches_of(16))
    parts, targets = collate([sample])
    head = model["masked-patch"].head
    found = head(model.encode(parts, "masked-patch")).detach().numpy()
    true = sample.targets["patches"].astype(np.float64)
    if normalised:
        true = (true - true.mean(1, keepdims=True)) / np.sqrt(true.var(1, keepdims=True, ddof=1) + 1e-6)
    expected = ((found - true) ** 2).mean(1).sum()
    assert abs(model(parts, targets, "masked-patch")["loss"].item() / expected - 1) < 1e-10
    assert head.weigh(targets)["loss"].item() == 12


def test_bf16_stays_close(unit_scale: Any) -> None:
    objective = objective_of()
    model = model_of(objective, trunk_of(), unit_scale).float()
    parts, targets = collate([learn(objective, patches_of(16))])
    exact = model(parts, targets, "masked-patch")["loss"]
    with torch.autocast("cpu", torch.bfloat16):
        near = model(parts, targets, "masked-patch")["loss"]
    assert near.dtype == torch.float32
    assert abs(near / exact - 1) < 0.05


# -- what is refused


def test_what_is_refused() -> None:
    settings = MaskedPatch.Config()
    with pytest.raises(ValueError, match="needs a tokenizer of continuous patches; the one given makes ids"):
        MaskedPatch(settings, Rows(patch_width=0, vocabulary_size=9))
    with pytest.raises(ValueError, match=r"shares 8 values with the next.*a stride equal to their length"):
        MaskedPatch(settings, Rows(patch_overlap=8))
    with pytest.raises(ValueError, match=r"set config.normalised to false"):
        MaskedPatch(settings, Rows(patch_width=1))
    with pytest.raises(ValueError, match=r"set decoder.cross to false"):
        MaskedPatch.Config(decoder=Decoder(cross=True))
    window = config.Stack(width=8, attention=config.Attention(heads=2, window=4))
    for trunk in (trunk_of(kind="alibi"), trunk_of(kind="relative"), config.Trunk(encoder=window)):
        with pytest.raises(ValueError, match=r"set trunk.encoder.position.kind to learned, sinusoidal or rotary"):
            objective_of().embedding(trunk)
    model = build_model(trunk_of(length=15), {"masked-patch": objective_of()})
    with pytest.raises(ValueError, match="a sequence reaches 16 tokens; the model has 15 learned positions"):
        model.encode(collate([learn(objective_of(), patches_of(16))])[0], "masked-patch")
