"""Published language models have the published numbers of parameters, to the digit."""

from __future__ import annotations

import time
from typing import Any

import pytest
import torch

from anyformer import heads
from anyformer.nn import build
from anyformer.nn.config import Attention, FeedForward, Norm, Position, Stack, Trunk
from anyformer.preset import Preset, count
from anyformer_nlp.presets import PRESETS
from anyformer_nlp.pretrained import Pretrained

PUBLISHED = {
    "transformer-base": 63_045_632,
    "transformer-big": 214_171_648,
    "transformer-tiny": 2_568_192,
    "bert-base": 110_106_428,
    "bert-large": 336_226_108,
    "gpt2-124m": 124_439_808,
    "gpt2-355m": 354_823_168,
    "gpt2-774m": 774_030_080,
    "gpt2-1558m": 1_557_611_200,
    "gpt3-125m": 125_226_240,
    "gpt3-350m": 355_871_744,
    "gpt3-760m": 760_300_032,
    "gpt3-1.3b": 1_315_723_264,
    "gpt3-2.7b": 2_651_553_280,
    "gpt3-6.7b": 6_658_404_352,
    "gpt3-13b": 12_853_386_240,
    "gpt3-175b": 174_604_259_328,
    "palm-8b": 8_632_012_800,
    "palm-62b": 62_495_662_080,
    "palm-540b": 540_356_474_880,
    "mt-nlg-530b": 529_581_506_560,
    "t5-small": 60_506_624,
    "t5-base": 222_903_552,
    "t5-large": 737_668_096,
    "t5-3b": 2_851_598_336,
    "t5-11b": 11_307_321_344,
    "t5-v1.1-small": 76_961_152,
    "t5-v1.1-base": 247_577_856,
    "t5-v1.1-large": 783_150_080,
    "t5-v1.1-xl": 2_849_757_184,
    "t5-v1.1-xxl": 11_135_332_352,
    "llama-65b": 65_285_660_672,
    "llama2-7b": 6_738_415_616,
    "llama2-13b": 13_015_864_320,
    "llama2-70b": 68_976_648_192,
    "llama3-8b": 8_030_261_248,
    "llama3-70b": 70_553_706_496,
    "llama3-405b": 405_853_388_800,
    "llama3.2-1b": 1_235_814_400,
    "llama3.2-3b": 3_212_749_824,
    "nanogpt": 10_745_088,
    "nanogpt-cpu": 804_096,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_are_as_many_as_published(name: str) -> None:
    assert count(PRESETS[name]()) == PUBLISHED[name]


def test_every_preset_is_in_the_table_and_says_what_it_is() -> None:
    assert set(PRESETS) == set(PUBLISHED)
    firsts = [(function.__doc__ or "").partition("\n")[0] for function in PRESETS.values()]
    assert all(firsts)
    assert len(set(firsts)) == len(firsts)


def test_540_billion_parameters_are_built_in_seconds() -> None:
    start = time.perf_counter()
    count(PRESETS["palm-540b"]())
    assert time.perf_counter() - start < 30


def changed(preset: Preset, **fields: Any) -> Preset:
    """The preset with fields of its only stack changed."""
    assert preset.trunk.decoder is not None
    stack = Stack.model_validate({**preset.trunk.decoder.model_dump(), **fields})
    return preset.model_copy(update={"trunk": Trunk(decoder=stack)})


def test_two_rows_of_the_table_of_gpt3_cannot_be_meant_as_printed() -> None:
    """XL with 24 heads of width 128, and 13B with a width of 5,140: neither has what Table D.1 says (1,320 and 12,850 M)."""
    literal = changed(PRESETS["gpt3-1.3b"](), attention={"heads": 24, "head_width": 128})
    assert count(literal) == 1_517_123_584
    literal = changed(PRESETS["gpt3-13b"](), width=5140, attention={"heads": 20})
    assert count(literal) == 12_952_938_780


def test_palm_without_the_scales_of_its_norms() -> None:
    """Published sizes in billions are met either way; a block has one norm, since its halves are parallel."""
    for name, billions in (("palm-8b", 8.6319), ("palm-62b", 62.4951), ("palm-540b", 540.3543)):
        preset = PRESETS[name]()
        assert preset.trunk.decoder is not None
        scales = (preset.trunk.decoder.depth + 1) * preset.trunk.decoder.width
        assert round((count(preset) - scales) / 1e9, 4) == billions


@pytest.mark.parametrize(("name", "pooled"), [("bert-base", 109_482_240), ("bert-large", 335_141_888)])
def test_bert_alone_and_with_one_of_its_heads(name: str, pooled: int) -> None:
    """The encoder with its pooler is the classifier without the layer of its two labels."""
    preset = PRESETS[name]()
    width = preset.trunk.output.width
    ((task, config),) = preset.also.items()
    classifier = preset.model_copy(update={"task": task, "config": config, "also": {}})
    assert count(classifier) - 2 * (width + 1) == pooled
    if name == "bert-base":
        assert count(preset.model_copy(update={"also": {}})) == 109_514_298


def test_a_translator_of_two_vocabularies() -> None:
    """The tutorial model for Multi30k, which prints 9,038,341: 7,853 German words, 5,893 English ones, nothing shared."""
    stack = Stack(
        width=256, depth=3, attention=Attention(heads=8), position=Position(kind="learned", length=100),
        feed_forward=FeedForward(width=512, activation="relu"), norm=Norm(place="post"),
    )  # fmt: skip
    trunk = Trunk(encoder=stack, decoder=stack.model_copy(update={"causal": True, "cross": True}))
    sizes = {"source": 7853, "target": 5893}
    tokenizers = {name: Pretrained(Pretrained.Config(vocabulary_size=size)) for name, size in sizes.items()}
    with torch.device("meta"):
        head = heads.LanguageModel(256, sizes["target"], tied=False, bias=True)
        modules = (build.trunk(trunk), build.embedding_for(trunk, tokenizers), head)
    assert sum(weight.numel() for module in modules for weight in module.parameters()) == 9_038_341
