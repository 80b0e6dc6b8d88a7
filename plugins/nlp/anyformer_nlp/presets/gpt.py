"""GPT-2, GPT-3, Megatron-Turing NLG and nanoGPT: decoders with learned positions and norms before each half block.

* GPT-2: Radford et al. 2019, Language Models are Unsupervised Multitask Learners.
* GPT-3: Brown et al. 2020, https://arxiv.org/abs/2005.14165, Table 2.1. Every second block of the published models sees a
  band of the text only; that takes away no weight, and here all see the whole text.
* Two rows of that table contradict themselves and the paper's own count, Table D.1. "XL" has 24 heads of width 128, which
  are 3,072 wide beside a model of 2,048, and make 1,517 million parameters; with 16 such heads they are the 1,320 million
  that are counted. "13B" has a width of 5,140, which 40 heads of 128 do not fill, and which makes 12,953 million
  parameters; with 5,120 they are the 12,850 million that are counted.
* Megatron-Turing NLG: Smith et al. 2022, https://arxiv.org/abs/2201.11990.
* nanoGPT: Karpathy 2022, its two models of letters, which have no biases.
"""

from __future__ import annotations

from anyformer.nn.config import Attention, FeedForward, Norm, Position, Stack
from anyformer.preset import Preset
from anyformer_nlp.presets.whole import language_model

NUM_TOKENS = 50_257
"""Of GPT-2's byte-pair encoding, which all but nanoGPT read."""
NUM_LETTERS = 65
"""Characters that the works of Shakespeare are written in."""


def gpt2_124m() -> Preset:
    """GPT-2 small (Radford et al. 2019): 12 blocks of width 768, 12 heads."""
    return _gpt(width=768, depth=12, heads=12, context=1024)


def gpt2_355m() -> Preset:
    """GPT-2 medium (Radford et al. 2019): 24 blocks of width 1,024, 16 heads."""
    return _gpt(width=1024, depth=24, heads=16, context=1024)


def gpt2_774m() -> Preset:
    """GPT-2 large (Radford et al. 2019): 36 blocks of width 1,280, 20 heads."""
    return _gpt(width=1280, depth=36, heads=20, context=1024)


def gpt2_1558m() -> Preset:
    """GPT-2 XL (Radford et al. 2019): 48 blocks of width 1,600, 25 heads."""
    return _gpt(width=1600, depth=48, heads=25, context=1024)


def gpt3_125m() -> Preset:
    """GPT-3 Small (Brown et al. 2020): 12 blocks of width 768, 12 heads."""
    return _gpt(width=768, depth=12, heads=12)


def gpt3_350m() -> Preset:
    """GPT-3 Medium (Brown et al. 2020): 24 blocks of width 1,024, 16 heads."""
    return _gpt(width=1024, depth=24, heads=16)


def gpt3_760m() -> Preset:
    """GPT-3 Large (Brown et al. 2020): 24 blocks of width 1,536, 16 heads."""
    return _gpt(width=1536, depth=24, heads=16)


def gpt3_1_3b() -> Preset:
    """GPT-3 XL (Brown et al. 2020): 24 blocks of width 2,048, 16 heads; the paper's table says 24, which do not fit.

    24 heads of width 128 would be 3,072 wide; 16 give the parameters of the paper's Table D.1.
    """
    return _gpt(width=2048, depth=24, heads=16)


def gpt3_2_7b() -> Preset:
    """GPT-3 2.7B (Brown et al. 2020): 32 blocks of width 2,560, 32 heads."""
    return _gpt(width=2560, depth=32, heads=32)


def gpt3_6_7b() -> Preset:
    """GPT-3 6.7B (Brown et al. 2020): 32 blocks of width 4,096, 32 heads."""
    return _gpt(width=4096, depth=32, heads=32)


def gpt3_13b() -> Preset:
    """GPT-3 13B (Brown et al. 2020): 40 blocks of width 5,120, 40 heads; the paper's table says 5,140, which do not fit.

    40 heads of width 128 are 5,120 wide, and that gives the parameters of the paper's Table D.1.
    """
    return _gpt(width=5120, depth=40, heads=40)


def gpt3_175b() -> Preset:
    """GPT-3 175B (Brown et al. 2020): 96 blocks of width 12,288, 96 heads."""
    return _gpt(width=12288, depth=96, heads=96)


def mt_nlg_530b() -> Preset:
    """Megatron-Turing NLG 530B (Smith et al. 2022): 105 blocks of width 20,480, 128 heads."""
    return _gpt(width=20480, depth=105, heads=128)


def _gpt(width: int, depth: int, heads: int, context: int = 2048) -> Preset:
    stack = Stack(
        width=width,
        depth=depth,
        causal=True,
        attention=Attention(heads=heads, dropout=0.1),
        position=Position(kind="learned", length=context),
        feed_forward=FeedForward(activation="gelu_tanh"),
        norm=Norm(place="pre"),
        dropout=0.1,
    )
    return language_model(stack, NUM_TOKENS, context)


def nanogpt() -> Preset:
    """nanoGPT's model of Shakespeare's letters (Karpathy 2022): 6 blocks of width 384, 6 heads, for a GPU."""
    return _nanogpt(width=384, depth=6, heads=6, context=256, dropout=0.2)


def nanogpt_cpu() -> Preset:
    """nanoGPT's model of Shakespeare's letters for a CPU (Karpathy 2022): 4 blocks of width 128, 4 heads."""
    return _nanogpt(width=128, depth=4, heads=4, context=64, dropout=0.0)


def _nanogpt(width: int, depth: int, heads: int, context: int, dropout: float) -> Preset:
    stack = Stack(
        width=width,
        depth=depth,
        causal=True,
        attention=Attention(heads=heads, bias=False, output_bias=False, dropout=dropout),
        position=Position(kind="learned", length=context),
        feed_forward=FeedForward(bias=False),
        norm=Norm(place="pre", bias=False),
        dropout=dropout,
    )
    return language_model(stack, NUM_LETTERS, context)


PRESETS = {
    "gpt2-124m": gpt2_124m, "gpt2-355m": gpt2_355m, "gpt2-774m": gpt2_774m, "gpt2-1558m": gpt2_1558m,
    "gpt3-125m": gpt3_125m, "gpt3-350m": gpt3_350m, "gpt3-760m": gpt3_760m, "gpt3-1.3b": gpt3_1_3b,
    "gpt3-2.7b": gpt3_2_7b, "gpt3-6.7b": gpt3_6_7b, "gpt3-13b": gpt3_13b, "gpt3-175b": gpt3_175b,
    "mt-nlg-530b": mt_nlg_530b, "nanogpt": nanogpt, "nanogpt-cpu": nanogpt_cpu,
}  # fmt: skip
