"""Words and sentences among the ids of a text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from anyformer.objectives import MaskedToken, SpanCorruption
from anyformer.task import Tokenizer
from anyformer_nlp.pretrained import Pretrained
from anyformer_nlp.tokenizers import Bpe, Bytes, TextTokenizer
from anyformer_nlp.words import Words

TEXT = "The quick fox, unseen. It jumps!\nA dog sleeps"
GROUPS = ["The", " quick", " fox,", " unseen.", " It", " jumps!", "\n", "A", " dog", " sleeps"]
SENTENCES = ["The quick fox, unseen.", " It jumps!", "\n", "A dog sleeps"]


def split(tokenizer: TextTokenizer, ids: np.ndarray, cuts: np.ndarray) -> list[bytes]:
    pieces = [tokenizer.pieces[index - 3] for index in ids.tolist()]
    return [b"".join(pieces[group[0] : group[-1] + 1]) for group in np.split(np.arange(len(ids)), cuts)]


@pytest.mark.parametrize("kind", [Bpe, Bytes])
def test_words_and_sentences_of_pieces(kind: type[TextTokenizer]) -> None:
    tokenizer = kind(kind.Config.model_validate({} if kind is Bytes else {"vocabulary_size": 270}))
    tokenizer.fit([TEXT] * 3, np.random.default_rng(0))
    ids = tokenizer.encode(TEXT)["ids"]
    words = split(tokenizer, ids, np.flatnonzero(~tokenizer.continues(ids))[1:])
    assert [word.decode() for word in words] == ([" The", *GROUPS[1:]] if kind is Bpe else GROUPS)
    found = split(tokenizer, ids, np.flatnonzero(tokenizer.closes(ids)) + 1)
    assert [one.decode().strip(" ") for one in found] == [one.strip(" ") for one in SENTENCES]
    special = np.array([0, *ids, 1])
    assert not tokenizer.continues(special)[[0, 1, -1]].any()
    assert not tokenizer.closes(special)[[0, -1]].any()


def test_a_word_of_its_own_goes_on_nothing() -> None:
    tokenizer = Words(Words.Config(min_frequency=1))
    tokenizer.fit([TEXT], np.random.default_rng(0))
    ids = tokenizer.encode(TEXT)["ids"]
    assert not tokenizer.continues(ids).any()
    assert tokenizer.closes(ids).sum() == 2


def test_a_checkpoints_tokenizer_says_nothing_of_words() -> None:
    assert Pretrained.continues is Tokenizer.continues
    made = Pretrained(Pretrained.Config(vocabulary_size=9, mask=1))
    assert made.sentinel_ids == ()
    with pytest.raises(ValueError, match="Pretrained does not say which ids go on a unit"):
        MaskedToken(MaskedToken.Config(whole_units=True), made)


@pytest.mark.parametrize("made", ["t5", "fast_t5"])
def test_a_t5_checkpoint_says_its_sentinels(made: str, checkpoint: Callable[[str], Any]) -> None:
    """`<extra_id_0>` is the last of them, and the next ones count down (Raffel et al. 2020)."""
    tokenizer = Pretrained.read(*checkpoint(made))
    first, *others = tokenizer.sentinel_ids
    assert others == [first - place for place in range(1, len(others) + 1)]
    assert set(tokenizer.sentinel_ids) <= tokenizer.special_ids
    objective = SpanCorruption(SpanCorruption.Config(context=12), tokenizer)
    (sample,) = objective.learn({"ids": tokenizer.encode("one two three four")["ids"][:12]}, np.random.default_rng(0))
    assert first in sample.parts["source"]
    assert sample.targets["labels"][0] == first
    assert sample.parts["target"][0] == tokenizer.start_id
