"""The tokenizers of checkpoints, beside `transformers.AutoTokenizer` on the same folders."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from anyformer_nlp.pretrained import Pretrained

TEXTS = [
    "the cat sat on the mat.", "The Café, naïve! don't walk", " two  spaces\n and a line", "", "İstanbul ǅ ﬁ é",
    "小籠包 the cat", "👩‍🍳 🍜 smile", "xyzzyqwert", "he's 12345", "a\u00a0b\tc", " ",
]  # fmt: skip
SPELLED = "the <s> </s> <pad> [CLS] [MASK] <mask> <|endoftext|> <extra_id_0> cat"
RUST = [
    "bert", "bert_cased", "gpt2", "opt", "roberta", "fast_bert", "fast_gpt2", "fast_roberta", "fast_t5", "stories",
    "flagged", "mini_lm",
]  # fmt: skip
EVERY = [*RUST, "t5", "marian"]


def both(checkpoint: Any, made: str) -> tuple[Pretrained, Any]:
    from transformers import AutoTokenizer

    folder, config = checkpoint(made)
    return Pretrained.read(folder, config), AutoTokenizer.from_pretrained(folder)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("made", EVERY)
def test_ids_and_text_are_those_of_transformers(checkpoint: Any, made: str, sentences: list[str]) -> None:
    ours, theirs = both(checkpoint, made)
    for text in [*TEXTS, *sentences[:20], ">>fr<<the cat", ">>xx<<the cat"]:
        ids = ours.encode(text)["ids"]
        assert ids.tolist() == theirs(text, add_special_tokens=False)["input_ids"]
        assert ours.single(ids).tolist() == theirs(text)["input_ids"]
        assert len(ours.single(ids)) == len(ids) + ours.num_special()
        expected = theirs.decode(ours.single(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
        # SentencePiece itself writes no space at the beginning, where the unknown piece before it was dropped.
        assert ours.decode(ours.single(ids)) == (expected.lstrip(" ") if made == "t5" else expected)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("made", EVERY)
def test_pairs_are_those_of_transformers(checkpoint: Any, made: str) -> None:
    ours, theirs = both(checkpoint, made)
    first, second = ours.encode("the cat sat")["ids"], ours.encode("a dog")["ids"]
    ids, segments = ours.pair(first, second)
    expected = theirs("the cat sat", "a dog", return_token_type_ids=True)
    assert ids.tolist() == expected["input_ids"]
    assert ids.dtype == segments.dtype == np.int64
    assert len(ids) == len(first) + len(second) + ours.num_special(pair=True)
    if made in ("bert", "bert_cased", "fast_bert", "mini_lm", "roberta", "fast_roberta"):
        assert segments.tolist() == expected["token_type_ids"]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("made", RUST)
def test_spans_are_those_of_transformers(checkpoint: Any, made: str, sentences: list[str]) -> None:
    ours, theirs = both(checkpoint, made)
    for text in [*TEXTS, *sentences[:20]]:
        ids, spans = ours.encode_spans(text)
        expected = theirs(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
        assert [tuple(span) for span in spans.tolist()] == [tuple(span) for span in expected]
        assert spans.shape == (len(ids), 2)


@pytest.mark.parametrize("made", ["t5", "marian"])
def test_spans_of_pieces_join_to_the_text(checkpoint: Any, made: str) -> None:
    folder, config = checkpoint(made)
    ours = Pretrained.read(folder, config)
    text = "the cat ﬁ 小 walking"
    _, spans = ours.encode_spans(text)
    assert "".join(text[start:end] for start, end in spans) == text
    if made == "marian":
        assert ours.encode_spans(">>fr<<the cat")[1].tolist()[:2] == [[0, 6], [6, 9]]


def test_a_character_of_several_byte_pieces_is_the_span_of_each(checkpoint: Any) -> None:
    ours = Pretrained.read(*checkpoint("llama"))
    ids, spans = ours.encode_spans("the 小é cat")
    letters = ["the 小é cat"[start:end] for start, end in spans]
    assert letters[:6] == ["the", " ", "小", "小", "小", "é"]
    assert "".join(letters[6:]) == " cat"
    assert ours.single(ids).tolist() == [1, *ids]
    assert (ours.start_id, ours.end_id, ours.unknown_id) == (1, 2, 0)
    assert ours.decode(ours.single(ids)) == "the 小é cat"
    assert ours.decode(ids[:3], final=False) == "the "


def test_special_ids_are_those_of_the_files_and_of_the_model(checkpoint: Any) -> None:
    def roles(made: str) -> list[int | None]:
        folder, config = checkpoint(made)
        ours = Pretrained.read(folder, config)
        assert ours.special_ids >= {index for index in (ours.start_id, ours.end_id, ours.mask_id) if index is not None}
        assert ours.vocabulary_size == config["vocab_size"]
        return [ours.start_id, ours.end_id, ours.mask_id, ours.pad_id, ours.unknown_id]

    assert roles("bert") == roles("fast_bert") == [2, 3, 4, 0, 1]
    assert roles("roberta") == roles("fast_roberta") == [0, 2, 4, 1, 3]
    assert roles("gpt2")[:4] == roles("fast_gpt2")[:4] == [0, 0, None, None]
    assert roles("opt")[:2] == [2, 2]
    assert roles("t5") == roles("fast_t5") == [0, 1, None, 0, 2]
    assert roles("marian")[1:3] == [0, None]
    assert roles("marian")[0] == roles("marian")[3] == checkpoint("marian")[1]["decoder_start_token_id"]
    ours = Pretrained.read(*checkpoint("t5"))
    assert ours.special_ids == {0, 1, 2, *range(ours.engine.size - 100, ours.engine.size)}
    assert ours.engine.id_of("<extra_id_0>") == ours.engine.size - 1


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("made", EVERY)
def test_no_text_spells_a_special_id(checkpoint: Any, made: str) -> None:
    ours, _ = both(checkpoint, made)
    ids, spans = ours.encode_spans(SPELLED)
    assert not set(ids.tolist()) & (ours.special_ids - {ours.unknown_id})
    assert all(0 <= start <= end <= len(SPELLED) for start, end in spans)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("made", ["bert", "roberta", "fast_roberta", "gpt2", "fast_t5", "stories"])
def test_special_ids_can_be_spelled_where_a_user_says_so(checkpoint: Any, made: str) -> None:
    ours, theirs = both(checkpoint, made)
    folder, _ = checkpoint(made)
    allowed = Pretrained(ours.config.model_copy(update={"special_in_text": True}))
    allowed.load(folder)
    ids = allowed.encode(SPELLED)["ids"]
    assert ids.tolist() == theirs(SPELLED, add_special_tokens=False)["input_ids"]
    assert set(ids.tolist()) & (ours.special_ids - {ours.unknown_id})


@pytest.mark.parametrize("made", EVERY)
def test_a_stream_only_grows(checkpoint: Any, made: str) -> None:
    folder, config = checkpoint(made)
    ours = Pretrained.read(folder, config)
    for text in ["the cat 🍜 é 小籠包 sat.", "👩‍🍳"]:
        ids = ours.single(ours.encode(text)["ids"])
        shown = ""
        for end in range(len(ids) + 1):
            now = ours.decode(ids[:end], final=False)
            assert now.startswith(shown)
            assert "\ufffd" not in now
            shown = now
        assert ours.decode(ids).startswith(shown)


def test_the_target_side_of_marian_reads_by_its_own_model(checkpoint: Any) -> None:
    from transformers import AutoTokenizer

    folder, config = checkpoint("marian")
    ours = Pretrained.read(folder, config)
    theirs = AutoTokenizer.from_pretrained(folder)
    ids = ours.encode_target("walking café river")["ids"]
    assert ids.tolist() == theirs(text_target="walking café river", add_special_tokens=False)["input_ids"]
    assert ids.tolist() != ours.encode("walking café river")["ids"].tolist()
