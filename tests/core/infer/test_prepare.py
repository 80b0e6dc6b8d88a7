"""Prepared models: the same answers, the given model untouched, kernels that fail left out with a word, no saving."""

from __future__ import annotations

import operator
import re
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anyformer import artifact
from anyformer.artifact import Artifact
from anyformer.infer.pipeline import Pipeline
from anyformer.infer.prepare import PRECISIONS, Precision, chains, choice, kernels, model, prepare
from anyformer.infer.prepare.convolution import ready_networks
from anyformer.infer.prepare.fuse import fuse
from anyformer.infer.prepare.kernels import Kernel
from anyformer.infer.prepare.linear import PackedLinear, Packer
from anyformer.infer.prepare.probe import fault, working
from anyformer.nn import Model, Pack, Stream, build, config
from anyformer.train import lora

NewPipeline = Callable[..., Pipeline]
WORDS = ("abc", "a", "dcbaabcd")


@pytest.fixture(autouse=True)
def _probed_again() -> Iterator[None]:
    """What a test makes fail must not be remembered."""
    fault.cache_clear()
    yield
    fault.cache_clear()


@pytest.fixture
def private(monkeypatch: pytest.MonkeyPatch) -> None:
    """Private kernels for every layer, however small."""
    monkeypatch.setattr(model, "_ON_CPU", {name: found[:1] for name, found in model._ON_CPU.items()})


def told(pipeline: Pipeline) -> list[Any]:
    return [output.model_dump() for output in pipeline([{"text": word} for word in WORDS])]


# -- the surface


@pytest.mark.usefixtures("private")
@pytest.mark.parametrize("precision", PRECISIONS)
def test_pipelines_take_a_prepared_model_and_the_given_one_stays(
    new_pipeline: NewPipeline, precision: Precision
) -> None:
    pipeline = new_pipeline("reverse")
    before = {name: weight.clone() for name, weight in pipeline.model.state_dict().items()}
    true = told(pipeline)
    ready = prepare(pipeline.model, precision)
    assert not any(weight.requires_grad for weight in ready.parameters())
    found = told(Pipeline(ready, pipeline.component))
    assert found == true if precision == "fp32" else len(found) == len(true)
    after = pipeline.model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(weight.requires_grad for weight in pipeline.model.parameters())
    assert told(pipeline) == true


def test_a_prepared_model_is_not_saved(new_letters_model: Callable[..., Artifact], tmp_path: Path) -> None:
    made = new_letters_model("reverse")
    made.model = prepare(made.model)
    with pytest.raises(ValueError, match="cannot be saved: its weights are packed for this machine"):
        artifact.save(made, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_what_cannot_be_prepared(new_letters_model: Callable[..., Artifact]) -> None:
    given = new_letters_model("reverse").model
    with pytest.raises(ValueError, match=re.escape("unknown precision 'int9' (did you mean 'int8'?); there are: fp32")):
        prepare(given, "int9")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="int8 runs on the CPU only; on cuda there are: fp32, bf16, fp16-weights"):
        prepare(given, "int8", "cuda")
    with pytest.raises(ValueError, match="prepared already; prepare the one that was loaded"):
        prepare(prepare(given))
    with pytest.raises(ValueError, match=r"is torch\.float64; prepare\(\) reads torch\.float32: call model\.float\(\)"):
        prepare(given.double())


def test_adapters_are_merged(new_pipeline: NewPipeline) -> None:
    pipeline = new_pipeline("reverse")
    layer = pipeline.model.get_submodule("trunk.decoder.blocks.0.attention.query")
    assert isinstance(layer, nn.Linear)
    generator = torch.Generator().manual_seed(0)
    down, up = (torch.randn(shape, generator=generator) for shape in ((2, layer.in_features), (layer.out_features, 2)))
    lora.put(pipeline.model, {"trunk.decoder.blocks.0.attention.query": lora.Adapter(down, up, 1.0)})
    true = told(pipeline)
    assert told(Pipeline(prepare(pipeline.model), pipeline.component)) == true
    assert lora.adapters(pipeline.model)


# -- stacks


@pytest.mark.parametrize("apart", [True, False])
@pytest.mark.parametrize("gated", [True, False])
def test_positions_of_queries_and_keys_only(unit_scale: Callable[..., None], apart: bool, gated: bool) -> None:
    attention = config.Attention(heads=4, key_value_heads=2, query_key_norm="rms", bias=gated)
    feed_forward = config.FeedForward(activation="silu", gated=gated)
    stack = build.stack(config.Stack(width=16, depth=2, attention=attention, feed_forward=feed_forward))
    unit_scale(stack)
    stack.eval()
    pack = Pack.of([3, 1, 4])
    stream = Stream(torch.randn(8, 16), pack, torch.randn(8, 16))
    with torch.inference_mode():
        true = stack(stream).x_TD
        fuse(stack, Packer([kernels.FP32]), apart)
        found = stack(stream).x_TD
    assert not [module for module in stack.modules() if type(module) is nn.Linear]
    assert (found - true).abs().max() <= 1e-5 * true.abs().max()


# -- kernels


def wrong(by: float) -> Kernel:
    def pack(weight_NK: Tensor, bias_N: Tensor | None, activation: str | None) -> Any:
        right = kernels.PLAIN.pack(weight_NK, bias_N, activation)
        return lambda x_MK: right(x_MK) * (1 + by)

    return Kernel("a wrong one", torch.float32, 1e-5, pack)


@pytest.mark.parametrize(
    "kernel",
    [kernels.PLAIN, kernels.plain(torch.bfloat16), kernels.plain(torch.float16)],
    ids=lambda kernel: kernel.name,
)
def test_what_works_everywhere_passes_the_probe(kernel: Kernel) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert fault(kernel) is None


def test_wrong_numbers_are_noticed_and_said_once() -> None:
    assert fault(wrong(1e-6)) is None
    bad = wrong(1e-3)
    with pytest.warns(
        UserWarning, match=r"the kernel a wrong one is not used, .*: relative error 1\.0e-03 at \[1, 64\]"
    ):
        assert working([bad, kernels.PLAIN]) == [kernels.PLAIN]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert working([bad]) == []


def test_a_missing_operator_falls_back_to_plain_products(
    new_pipeline: NewPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: Any) -> None:
        raise RuntimeError("no such kernel\nand much more")

    pipeline = new_pipeline("reverse")
    true = told(pipeline)
    monkeypatch.setattr(torch.ops.mkldnn, "_reorder_linear_weight", missing)
    with pytest.warns(UserWarning, match="the kernel oneDNN in float32 is not used, .*: no such kernel$"):
        ready = prepare(pipeline.model)
    assert told(Pipeline(ready, pipeline.component)) == true


@pytest.mark.parametrize("precision", ["int8", "fp16-weights"])
def test_without_any_kernel_of_a_precision_the_model_answers_in_fp32(
    new_pipeline: NewPipeline, monkeypatch: pytest.MonkeyPatch, precision: Precision
) -> None:
    pipeline = new_pipeline("reverse")
    true = told(pipeline)
    monkeypatch.setattr(model, "_ON_CPU", model._ON_CPU | {precision: (wrong(0.5),)})
    monkeypatch.setattr(kernels, "INT8_NARROW", wrong(0.4))
    with pytest.warns(UserWarning, match=f"no kernel of {precision} works on this machine; the model answers in fp32"):
        ready = prepare(pipeline.model, precision)
    assert told(Pipeline(ready, pipeline.component)) == true


def test_a_weight_beyond_fp16_stays_wide() -> None:
    layer = nn.Linear(4, 4)
    layer.weight.data[0, 0] = 1e6
    packed = Packer([kernels.FP16_WEIGHTS])([layer])
    x_MK = torch.randn(3, 4)
    assert torch.equal(packed(x_MK), layer(x_MK))


def test_two_packings_where_they_pay_and_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = kernels.plain(torch.float32), wrong(1.0)
    times = {"few": {one: 1.0, other: 3.0}, "many": {one: 3.0, other: 1.0}}
    monkeypatch.setattr(choice, "seconds", lambda _, a, b, rows, *more: times["few" if rows < 16 else "many"])
    layer, x_MK = nn.Linear(8, 8), torch.randn(64, 8)
    both = Packer([one, other], spare=8 * 8 * 4)
    first, second = both([layer]), both([layer])
    assert torch.equal(first(x_MK[:4]), layer(x_MK[:4]))
    assert torch.equal(first(x_MK), 2 * layer(x_MK))
    assert torch.equal(second(x_MK[:4]), 2 * layer(x_MK[:4])), "the room for second packings is used up"
    times["few"][other] = times["many"][one] = 1.1
    assert choice.choose([one, other], 8, 8) == (one, one)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rows_keep_their_shape_and_dtype(dtype: torch.dtype) -> None:
    layer = nn.Linear(5, 3)
    packed = Packer([kernels.PLAIN])([layer], activation="relu")
    assert isinstance(packed, PackedLinear)
    x = torch.randn(2, 4, 5).to(dtype)
    found = packed(x)
    assert found.dtype == dtype
    assert found.shape == (2, 4, 3)
    torch.testing.assert_close(found.float(), F.relu(layer(x.float())), atol=1e-2, rtol=1e-2)
    assert packed(x[:0]).shape == (0, 4, 3)


# -- convolutions


class Network(nn.Module):
    """A convolution with a norm of its own, and one that somebody else reads too."""

    def __init__(self, images: int = 3) -> None:
        super().__init__()
        self.first, self.first_norm = nn.Conv2d(images, 4, 3, bias=False), nn.BatchNorm2d(4)
        self.second, self.second_norm = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.act(self.first_norm(self.first(x)))
        y = self.second(x)
        return [x, self.second_norm(y) + self.act(y)]


def drawn_network() -> nn.Module:
    network = Network().eval()
    for norm in (network.first_norm, network.second_norm):
        for tensor in (norm.weight.data, norm.bias.data, norm.running_mean, norm.running_var):
            assert tensor is not None
            tensor.copy_(torch.rand(4) + 0.5)
    return nn.ModuleDict({"backbone": network, "other": nn.Linear(2, 2)})


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("chained", [True, False], ids=["chained", ""])
def test_norms_are_folded_where_nobody_else_reads(
    dtype: torch.dtype, chained: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = drawn_network()
    network: Any = owner.get_submodule("backbone")
    images = torch.randn(2, 3, 9, 11)
    if not chained:
        monkeypatch.setattr(chains, "PackedConvolution", None)
    with torch.inference_mode():
        true = network(images)
        if chained:
            ready_networks(owner, dtype)
        else:
            with pytest.warns(UserWarning, match="convolutions of a network are not packed: 'NoneType'"):
                ready_networks(owner, dtype)
        ready: Any = owner.get_submodule("backbone")
        found = ready(images)
    assert (ready is not network) == chained
    assert isinstance(network.first_norm, nn.Identity)
    assert isinstance(network.second_norm, nn.BatchNorm2d)
    assert network.first.weight.dtype == dtype
    assert network.first.weight.is_contiguous(memory_format=torch.channels_last)
    for own, one in zip(found, true, strict=True):
        assert own.dtype == torch.float32
        assert (own - one).abs().max() <= (1e-5 if dtype == torch.float32 else 3e-2) * one.abs().max()


def test_a_network_that_folding_would_change_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    owner = drawn_network()
    network: Any = owner.get_submodule("backbone")
    images = torch.randn(2, 3, 9, 11)
    with torch.inference_mode():
        true = network(images)[1]
        monkeypatch.setattr(network.first_norm, "eps", 1e-5)
        network.first_norm.register_forward_hook(lambda module, inputs, output: output * 2)
        doubled = network(images)[1]
        with pytest.warns(
            UserWarning, match="batch norms of a convolutional network are not folded: its answer changed"
        ):
            ready_networks(owner, torch.float32)
        ready: Any = owner.get_submodule("backbone")
        assert torch.allclose(ready(images)[1], doubled, atol=1e-5)
    assert not torch.allclose(doubled, true)
    assert isinstance(ready.first_norm, nn.BatchNorm2d)


class Residuals(nn.Module):
    """Every way in which a convolution may end: a ReLU, a sum, both, and sums that must not be written over."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(4, 4, 3, padding=1, groups=1 + index % 2) for index in range(7))
        self.mirrored = nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect")
        self.act, self.same = nn.ReLU(inplace=True), nn.Identity()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        shortcut = self.same(self.convs[0](x))
        both = self.act(self.same(self.convs[1](F.relu(self.convs[2](x)))) + shortcut)
        total = both + self.convs[3](both)
        read_later = self.convs[4](total)
        out = self.act(self.convs[5](total) + read_later) + read_later
        return out, self.mirrored(self.convs[6](x) + x)


def test_a_convolution_takes_the_sum_and_the_relu_behind_it() -> None:
    torch.manual_seed(0)
    network = Residuals().eval()
    images = torch.randn(2, 4, 9, 11)
    given = images.clone()
    with torch.inference_mode():
        ready: Any = chains.packed(network)
        for own, true in zip(ready(images), network(images), strict=True):
            assert (own - true).abs().max() <= 1e-5
    assert torch.equal(images, given)
    kept = [module for module in ready.modules() if isinstance(module, nn.Conv2d)]
    assert [module.padding_mode for module in kept] == ["reflect"]
    calls = [node.target for node in ready.graph.nodes if node.op in ("call_module", "call_function")]
    assert sum("packed" in str(call) for call in calls) == 7
    # Apart stay sums with what the convolution reads, with what is read later (twice), and with the images.
    apart = [call for call in calls if "packed" not in str(call)]
    assert apart == [operator.add, operator.add, "act", operator.add, operator.add, "mirrored"]


def test_models_without_components_of_text_are_models_too() -> None:
    trunk = build.trunk(config.Trunk(encoder=config.Stack(width=8, depth=1, attention=config.Attention(heads=2))))
    bare = Model(trunk, {})
    stream = Stream(torch.randn(5, 8), Pack.of([2, 3]))
    with torch.inference_mode():
        true = bare.eval().trunk({"source": stream})["source"].x_TD
        found = prepare(bare).trunk({"source": stream})["source"].x_TD
    assert (found - true).abs().max() <= 1e-5 * true.abs().max()
