"""BERT (Devlin et al. 2019, https://arxiv.org/abs/1810.04805): an encoder with the norm after each half block.

* A preset is the model as it was pretrained, with both of its heads: the hidden words, and whether a text follows another.
  The second is a classifier over the first token's vector, through the layer that is called the pooler.
* `nlp/fill-mask` alone has 109,514,298 parameters of the base model's 110,106,428; the encoder with its pooler, which is
  `nlp/text-classification` without the labels' layer, has 109,482,240.
"""

from __future__ import annotations

from anyformer.nn.config import Attention, Embedding, Norm, Position, Stack, Trunk
from anyformer.preset import Preset

NUM_WORDS = 30_522
CONTEXT = 512


def bert_base() -> Preset:
    """BERT base (Devlin et al. 2019) with its pretraining heads: 12 blocks of width 768, 12 heads."""
    return _bert(width=768, depth=12, heads=12)


def bert_large() -> Preset:
    """BERT large (Devlin et al. 2019) with its pretraining heads: 24 blocks of width 1,024, 16 heads."""
    return _bert(width=1024, depth=24, heads=16)


def _bert(width: int, depth: int, heads: int) -> Preset:
    encoder = Stack(
        width=width,
        depth=depth,
        attention=Attention(heads=heads, dropout=0.1),
        embedding=Embedding(norm=True, segments=2),
        position=Position(kind="learned", length=CONTEXT),
        norm=Norm(place="post", epsilon=1e-12),
        dropout=0.1,
    )
    return Preset(
        trunk=Trunk(encoder=encoder),
        task="nlp/fill-mask",
        config={"context": CONTEXT},
        also={"nlp/text-classification": {"context": CONTEXT, "pooling": "first", "hidden": "tanh"}},
        state={"labels": ["follows", "does not follow"]},
        tokenizer="nlp/pretrained",
        tokenizer_config={"vocabulary_size": NUM_WORDS},
    )


PRESETS = {"bert-base": bert_base, "bert-large": bert_large}
