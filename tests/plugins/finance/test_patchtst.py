"""PatchTST's checkpoints from raw values to forecasts, and back; the parity of its modules is in `tests/parity`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import anyformer
from anyformer.artifact import Artifact, build_model
from anyformer.nn.config import Trunk
from anyformer_finance.forecast import Forecast
from anyformer_finance.tokenizers import Patches

transformers = pytest.importorskip("transformers")
from anyformer.testing.parity import relative, unit_scale  # noqa: E402

NAMES = ["load", "price", "still"]
SIZES = {
    "num_input_channels": 3, "context_length": 33, "patch_length": 7, "patch_stride": 4, "d_model": 12, "ffn_dim": 20,
    "num_hidden_layers": 2, "num_attention_heads": 3, "prediction_length": 5, "pooling_type": None,
}  # fmt: skip


def checkpoint(folder: Path, **changes: Any) -> Any:
    """A home model with drawn weights, saved in a folder."""
    home: Any = unit_scale(transformers.PatchTSTForPrediction(transformers.PatchTSTConfig(**SIZES | changes)))
    home.save_pretrained(folder)
    return home


def values(count: int = 33) -> np.ndarray:
    """Series of three sizes [L, 3], the last one constant."""
    rng = np.random.default_rng(0)
    found: np.ndarray = rng.normal(size=(count, 3)) * [1.0, 200.0, 0.0] + [0.0, 5000.0, 4.0]
    return found


@pytest.mark.parametrize("changes", [{}, {"minimum_scale": 0.5}, {"norm_type": "layernorm", "pooling_type": "mean"}])
def test_raw_values_to_forecasts(changes: dict[str, Any], tmp_path: Path) -> None:
    """33 values are no whole number of strides: the first two are in no patch, but in the mean and the deviation."""
    home, past = checkpoint(tmp_path / "home", **changes), values()
    with torch.inference_mode():
        true = home(past_values=torch.from_numpy(past[None]).float()).prediction_outputs[0]
    forecast = anyformer.pipeline("finance/forecast", model=tmp_path / "home")
    found = forecast({"series": dict(zip(NAMES, past.T.tolist(), strict=True))})
    for channel, name in enumerate(NAMES):
        own = torch.from_numpy(np.asarray(found.median[name])).float()
        assert relative(own - past[:, channel].mean(), true[:, channel] - past[:, channel].mean()) < 2e-4
        assert relative(own, true[:, channel]) < 1e-5


def test_a_checkpoint_is_evaluated_without_training(tmp_path: Path) -> None:
    checkpoint(tmp_path / "home")
    rows = [dict(zip(NAMES, row, strict=True)) for row in values(60).tolist()]
    told = anyformer.evaluate(model=tmp_path / "home", data=rows)
    assert np.isfinite(told.scores["mse"]["value"])
    assert set(told.baselines) == {"repeat", "mean"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"share_embedding": False}, "'share_embedding' is False; supported: True"),
        ({"channel_attention": True}, "'channel_attention' is True; supported: False"),
        ({"use_cls_token": True}, "'use_cls_token' is True; supported: False"),
        ({"scaling": "mean"}, "'scaling' is 'mean'; supported: 'std'"),
        ({"loss": "nll"}, "'loss' is 'nll'; supported: 'mse'"),
        ({"share_projection": False}, "'share_projection' is False; supported: True"),
        ({"patch_length": 33}, "'context_length' is 33, 'patch_length' 33 and 'patch_stride' 4; they must be"),
        ({"patch_stride": 8}, "a stride of 8 skips values between patches of 7"),
    ],
)  # fmt: skip
def test_refusals(changes: dict[str, Any], said: str, tmp_path: Path) -> None:
    checkpoint(tmp_path / "home")
    path = tmp_path / "home" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(ValueError, match=said):
        anyformer.load(tmp_path / "home")


@pytest.fixture
def trained() -> Callable[..., Artifact]:
    """A function: a model made here, with a tokenizer of some setting."""

    def make(lengthen: bool) -> Artifact:
        trunk = Trunk.model_validate({"encoder": {
            "width": 12, "depth": 2, "attention": {"heads": 3}, "feed_forward": {"width": 20},
            "position": {"kind": "learned", "length": 7}, "norm": {"kind": "batch", "place": "post", "final": False},
        }})  # fmt: skip
        config = Forecast.Config(look_back=33, horizon=5, quantiles=(0.5,), loss="squared", floor=1e-3)
        patches = Patches(Patches.Config(length=7, stride=4, lengthen=lengthen))
        task = Forecast(config, {"patches": patches}, {"names": NAMES, "mean": np.zeros(3), "std": np.ones(3)})
        model = build_model(trunk, {"finance/forecast": task})
        unit_scale(model)
        return Artifact(model, trunk)

    return make


def test_a_model_made_here_goes_there(trained: Callable[..., Artifact], tmp_path: Path) -> None:
    artifact, past = trained(lengthen=False), values()
    anyformer.export(artifact, tmp_path / "out")
    home = transformers.PatchTSTForPrediction.from_pretrained(tmp_path / "out").eval()
    with torch.inference_mode():
        true = home(past_values=torch.from_numpy(past[None]).float()).prediction_outputs[0]
    found = anyformer.pipeline(model=artifact)({"series": dict(zip(NAMES, past.T.tolist(), strict=True))})
    own = torch.from_numpy(np.stack([found.median[name] for name in NAMES], axis=1)).float()
    assert relative(own, true) < 1e-5


def test_lengthened_series_cannot_be_said_there(trained: Callable[..., Artifact], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the tokenizer's lengthen is True, where the family means False"):
        anyformer.export(trained(lengthen=True), tmp_path / "out")


def test_one_forecast_by_squared_error() -> None:
    with pytest.raises(ValueError, match="quantiles has 3 levels and loss squared trains one forecast; set quantiles"):
        Forecast.Config(loss="squared", quantiles=(0.1, 0.5, 0.9))
