from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anyformer_nlp.tokenizers import END, MASK, NUM_SPECIAL, START, Bpe, Bytes, TextTokenizer
from anyformer_nlp.words import Words

CORPUS = ["the cat sat on the mat", "the dog sat on the cat", "Où est le chat ? <s> 小籠包 小籠包 🍜", "the mat"] * 3
RNG = np.random.default_rng(0)
ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


def fitted(kind: type[Any], corpus: list[str] = CORPUS, **config: Any) -> Any:
    tokenizer = kind(kind.Config(**config))
    tokenizer.fit(corpus, RNG)
    return tokenizer


BPE = fitted(Bpe, vocabulary_size=320)
LOSSLESS = [BPE, Bytes(Bytes.Config())]
ALL = [*LOSSLESS, fitted(Words)]
NAMES = ["Bpe", "Bytes", "Words"]


@pytest.mark.parametrize("tokenizer", LOSSLESS, ids=NAMES[:2])
@given(text=ANY_TEXT)
@settings(max_examples=200, deadline=None)
def test_any_text_comes_back(tokenizer: TextTokenizer, text: str) -> None:
    ids = tokenizer.encode(text)["ids"]
    assert ids.dtype == np.int64
    assert ids.ndim == 1
    assert tokenizer.decode(ids) == text
    assert not ids.size or (ids.min() >= NUM_SPECIAL and ids.max() < tokenizer.vocabulary_size)


@pytest.mark.parametrize("tokenizer", LOSSLESS, ids=NAMES[:2])
@given(text=ANY_TEXT)
@settings(max_examples=100, deadline=None)
def test_a_stream_only_grows_and_shows_no_half_character(tokenizer: TextTokenizer, text: str) -> None:
    ids = tokenizer.encode(text)["ids"]
    shown = ""
    for end in range(len(ids) + 1):
        now = tokenizer.decode(ids[:end], final=False)
        assert now.startswith(shown)
        assert text.startswith(now)
        shown = now
    assert tokenizer.decode(ids, final=True) == text


def test_a_broken_character_is_held_back_until_it_is_final() -> None:
    tokenizer = Bytes(Bytes.Config())
    half = tokenizer.encode("é")["ids"][:1]
    assert tokenizer.decode(half, final=False) == ""
    assert tokenizer.decode(half) == "\ufffd"


@pytest.mark.parametrize("tokenizer", ALL, ids=NAMES)
def test_a_saved_tokenizer_is_the_same(tokenizer: TextTokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path)
    for path in tmp_path.iterdir():
        json.loads(path.read_text(encoding="utf-8"))
    other = type(tokenizer)(tokenizer.config)
    other.load(tmp_path)
    assert (other.vocabulary_size, other.pieces) == (tokenizer.vocabulary_size, tokenizer.pieces)
    for text in [*CORPUS, "unseen wörds <s>"]:
        np.testing.assert_array_equal(other.encode(text)["ids"], tokenizer.encode(text)["ids"])


@pytest.mark.parametrize("kind", [Bpe, Words])
def test_the_same_corpus_gives_the_same_ids(kind: type[Any]) -> None:
    first, second = fitted(kind), fitted(kind)
    assert first.pieces == second.pieces


def test_bpe_merges_what_is_frequent_and_treats_the_first_word_as_any_other() -> None:
    assert len(BPE.encode("the cat")["ids"]) == 2
    assert BPE.encode("cat")["ids"][0] == BPE.encode("the cat")["ids"][1]
    assert BPE.vocabulary_size == len(BPE.pieces) + NUM_SPECIAL <= 320


@pytest.mark.parametrize("tokenizer", ALL, ids=NAMES)
def test_special_ids_are_never_spelled(tokenizer: TextTokenizer) -> None:
    assert (tokenizer.start_id, tokenizer.end_id, tokenizer.mask_id) == (START, END, MASK)
    assert not set(tokenizer.encode("<s> </s> [MASK] \x00\x01\x02")["ids"].tolist()) & tokenizer.special_ids
    ids = tokenizer.encode("the cat")["ids"]
    assert tokenizer.decode(np.array([START, *ids, MASK, END])) == "the cat"


def test_lowercase_reads_both_cases_alike() -> None:
    tokenizer = fitted(Bpe, vocabulary_size=300, lowercase=True)
    np.testing.assert_array_equal(tokenizer.encode("The CAT")["ids"], tokenizer.encode("the cat")["ids"])


def test_words_keep_the_frequent_and_mark_the_others() -> None:
    tokenizer = fitted(Words, ["b b b a a c", "A, b"])
    assert tokenizer.words == ["b", "a"]
    assert tokenizer.decode(tokenizer.encode("a c B, zebra")["ids"]) == "a \ufffd b \ufffd \ufffd"
    assert fitted(Words, ["b b b a a c"], vocabulary_size=5).words == ["b"]


@pytest.mark.parametrize("tokenizer", ALL, ids=NAMES)
@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"bytes", "a text is expected; got bytes"),
        (None, "a text is expected; got NoneType"),
        ("ab\ud800c", "at character 3, a lone surrogate"),
        ("x" * 10_000_000, "the text has 10,000,000 characters; at most 1,000,000 are accepted"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_line(tokenizer: TextTokenizer, raw: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        tokenizer.encode(raw)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 250


def test_the_bound_on_length_can_be_set() -> None:
    assert len(Bytes(Bytes.Config(max_characters=3)).encode("abc")["ids"]) == 3
    with pytest.raises(ValueError, match="at most 3 are accepted"):
        Bytes(Bytes.Config(max_characters=3)).encode("abcd")


@pytest.mark.parametrize("kind", [Bpe, Words])
@pytest.mark.parametrize("corpus", [[], ["", ""]])
def test_an_empty_corpus_is_an_error(kind: type[Any], corpus: list[str]) -> None:
    with pytest.raises(ValueError, match=f"the corpus has no text; a {kind.__name__} tokenizer needs some"):
        fitted(kind, corpus)


@pytest.mark.parametrize("kind", [Bpe, Words])
def test_a_bad_item_of_the_corpus_is_an_error(kind: type[Any]) -> None:
    with pytest.raises(ValueError, match="a text is expected; got int: '3'"):
        fitted(kind, ["text", 3])


@pytest.mark.parametrize("kind", [Bpe, Words])
def test_a_tokenizer_must_learn_before_it_reads(kind: type[Any]) -> None:
    with pytest.raises(ValueError, match=f"this {kind.__name__} tokenizer has learned nothing yet"):
        kind(kind.Config()).encode("text")


def test_ids_outside_the_vocabulary_are_an_error() -> None:
    with pytest.raises(ValueError, match="ids must be from 0 to 258; got 7 to 259"):
        Bytes(Bytes.Config()).decode(np.array([7, 259]))


@pytest.mark.parametrize(("kind", "name"), [(Bpe, "tokenizer.json"), (Words, "words.json")])
def test_a_folder_without_a_tokenizer_is_an_error(kind: type[Any], name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"has no {name}; give the folder of a saved tokenizer"):
        kind(kind.Config()).load(tmp_path)


@pytest.mark.parametrize(("kind", "name"), [(Bpe, "tokenizer.json"), (Words, "words.json")])
@pytest.mark.parametrize("content", ["no json", "{}", "[1]"])
def test_a_file_of_something_else_is_an_error(kind: type[Any], name: str, content: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=f"cannot read {name}"):
        kind(kind.Config()).load(tmp_path)


def test_a_panic_of_the_library_is_a_value_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class PanicException(BaseException):
        pass

    class Panics:
        def encode(self, text: str) -> None:
            raise PanicException("index out\nof bounds")

    monkeypatch.setattr(BPE, "rust", Panics())
    with pytest.raises(ValueError, match="the tokenizers library cannot read this text") as caught:
        BPE.encode("text")
    assert "\n" not in str(caught.value)


def test_a_text_without_spaces_is_learned_and_read_in_time() -> None:
    """Learning takes the square of a word's length: a word of 300,000 letters must not be one word to it."""
    tokenizer = Bpe(Bpe.Config(vocabulary_size=300))
    text = "abcdefghij" * 30_000
    began = time.perf_counter()
    tokenizer.fit([text, "a b c"], np.random.default_rng(0))
    assert tokenizer.decode(tokenizer.encode(text)["ids"]) == text
    assert time.perf_counter() - began < 20


def spelled(tokenizer: TextTokenizer, text: str) -> list[str]:
    """What `encode_spans` says that each id stands for."""
    ids, spans = tokenizer.encode_spans(text)
    np.testing.assert_array_equal(ids, tokenizer.encode(text)["ids"])
    assert ids.dtype == spans.dtype == np.int64
    assert spans.shape == (len(ids), 2)
    return [text[start:end] for start, end in spans]


@pytest.mark.parametrize("tokenizer", LOSSLESS, ids=NAMES[:2])
@given(text=ANY_TEXT)
@settings(max_examples=200, deadline=None)
def test_the_span_of_an_id_is_where_its_bytes_are(tokenizer: TextTokenizer, text: str) -> None:
    ids, spans = tokenizer.encode_spans(text)
    at = -1 if tokenizer is BPE else 0  # the space that Bpe sets before the text
    for index, (start, end) in zip(ids, spans, strict=True):
        piece = tokenizer.pieces[index - NUM_SPECIAL][-min(at, 0) :]
        at = max(at, 0)
        assert piece in text[start:end].encode()
        assert len(text[:start].encode()) <= at
        at += len(piece)
        assert at <= len(text[:end].encode())
        assert not piece or len(text[start : end - 1].encode()) < len(text[start:end].encode())
    assert not text or at == len(text.encode())


@pytest.mark.parametrize("text", ["", "the cat", "  the\n cat ", "İİ the İ", "e\u0301 小籠包 👩\u200d🍳 🍜"])
def test_spans_join_to_the_text(text: str) -> None:
    for tokenizer in LOSSLESS:
        _, spans = tokenizer.encode_spans(text)
        assert sorted({place for start, end in spans for place in range(start, end)}) == list(range(len(text)))


def test_spans_count_characters_before_lowering() -> None:
    """Capital I with a dot is lowered to two characters of three bytes; the text that the user has holds one."""
    assert spelled(Bytes(Bytes.Config(lowercase=True)), "aİb") == ["a", "İ", "İ", "İ", "b"]
    assert spelled(fitted(Words, ["the cat"] * 2), "İ THE Cat!") == ["İ", "İ", "THE", "Cat", "!"]
    bpe = fitted(Bpe, vocabulary_size=320, lowercase=True)
    assert spelled(bpe, "İ The CAT") == ["", "İ", "İ", "İ", " The", " CAT"]


def test_spans_of_words_leave_out_the_spaces() -> None:
    assert spelled(ALL[2], " the  cat, Où\n🍜") == ["the", "cat", ",", "Où", "🍜"]
    assert spelled(BPE, "the cat") == ["the", " cat"]


@pytest.mark.parametrize("tokenizer", ALL, ids=NAMES)
def test_special_ids_stand_around_one_text_and_between_two(tokenizer: TextTokenizer) -> None:
    first, second = np.array([5, 6]), np.array([7])
    assert tokenizer.single(first).tolist() == [START, 5, 6, END]
    ids, segments = tokenizer.pair(first, second)
    assert ids.tolist() == [START, 5, 6, END, 7, END]
    assert segments.tolist() == [0, 0, 0, 0, 1, 1]
    assert ids.dtype == segments.dtype == tokenizer.single(first).dtype == np.int64
    assert (tokenizer.num_special(), tokenizer.num_special(pair=True)) == (2, 3)
    assert tokenizer.single(np.array([], dtype=np.int64)).dtype == np.int64
