from __future__ import annotations

import subprocess
import sys

import pytest
from pydantic import ValidationError

from anyformer.nn import config


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"width": 100, "attention": {"heads": 8}}, "width 100 is not divisible by 8 heads; set attention.head_width"),
        ({"attention": {"heads": 8, "key_value_heads": 3}}, "8 heads cannot be grouped over 3 key_value_heads"),
        ({"attention": {"heads": 4, "key_value_heads": 8}}, "4 heads cannot be grouped over 8 key_value_heads"),
        ({"width": 24, "attention": {"heads": 8}}, "rotary positions turn an even number of a head's coordinates"),
        ({"attention": {"head_width": 5}}, "rotary positions turn an even number of a head's coordinates"),
    ],
)
def test_stacks_that_cannot_be(fields: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        config.Stack.model_validate(fields)


def test_trunks_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="a trunk needs an encoder, a decoder, or both"):
        config.Trunk()
    with pytest.raises(
        ValueError, match=r"decoder\.cross attends to an encoder; give one, or set decoder\.cross to false"
    ):
        config.Trunk(decoder=config.Stack(cross=True))
    with pytest.raises(ValueError, match=r"decoder\.memory_width is 8, but the encoder is 256 wide; leave it out"):
        config.Trunk(encoder=config.Stack(), decoder=config.Stack(cross=True, memory_width=8))


def test_unknown_fields_and_changes_are_refused() -> None:
    with pytest.raises(ValidationError, match="deep"):
        config.Stack.model_validate({"deep": 3})
    with pytest.raises(ValidationError, match="frozen"):
        config.Stack().depth = 3


def test_widths_that_follow() -> None:
    assert config.Stack(width=96, attention=config.Attention(heads=12)).head_width == 8
    assert config.Stack(attention=config.Attention(heads=3, head_width=10)).head_width == 10
    assert config.Stack(width=96).inner_width == 384
    assert config.Stack(width=4096, feed_forward=config.FeedForward(gated=True)).inner_width == 10928
    assert config.Stack(feed_forward=config.FeedForward(gated=True, width=10)).inner_width == 10


def test_the_output_is_the_decoder_where_there_is_one() -> None:
    encoder, decoder = config.Stack(), config.Stack(causal=True, cross=True)
    both = config.Trunk(encoder=encoder, decoder=decoder)
    assert both.stacks == {"source": encoder, "target": decoder}
    assert both.output is decoder
    assert config.Trunk(encoder=encoder).output is encoder


def test_configurations_need_no_torch() -> None:
    script = "import sys, anyformer.nn.config, anyformer.task; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
