from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from anyformer.task import Prediction
from anyformer_nlp import lexicon
from anyformer_nlp.tokenizers import END, START, Bytes
from anyformer_nlp.translation import Reference, Source, Translated, Translation

RNG = np.random.default_rng(0)


def made(**config: Any) -> Translation:
    task = Translation(Translation.Config(**config), {"text": Bytes(Bytes.Config())})
    task.state = task.fit(task.records(Translation.examples()))
    return task


def ids(text: str) -> list[int]:
    return Bytes(Bytes.Config()).encode(text)["ids"].tolist()


def test_learning_shifts_the_translation_by_one() -> None:
    task = made()
    (sample,) = task.learn(task.records([{"text": "ab", "translation": "xyz"}])[0], RNG)
    assert sample.parts["source"].tolist() == [START, *ids("ab"), END]
    assert sample.parts["target"].tolist() == [START, *ids("xyz")]
    assert sample.targets["labels"].tolist() == [*ids("xyz"), END]
    assert {array.dtype for array in (*sample.parts.values(), *sample.targets.values())} == {np.dtype(np.int64)}


def test_encoding_reads_as_learning_does_and_begins_to_write() -> None:
    (sample,) = made().encode(Source(text="ab"), Translation.Options())
    assert sample.parts["source"].tolist() == [START, *ids("ab"), END]
    assert sample.parts["target"].tolist() == [START]
    assert sample.notes == {"end": END, "max_new_tokens": 58}
    assert not sample.targets


def test_what_is_forced_and_never_written_reaches_the_solver_and_is_learned() -> None:
    task = made(forced_first=7, forced_last=END, suppressed=(9, 11), context=20)
    (sample,) = task.encode(Source(text="ab"), Translation.Options())
    assert sample.notes == {"end": END, "forced": {0: 7, -1: END}, "suppressed": (9, 11), "max_new_tokens": 20}
    (sample,) = task.learn(task.records([{"text": "ab", "translation": "xyz"}])[0], RNG)
    assert sample.parts["target"].tolist() == [START, 7, *ids("xyz")]
    assert sample.targets["labels"].tolist() == [7, *ids("xyz"), END]
    assert Translation.Config.model_validate_json(task.config.model_dump_json()) == task.config


def test_decoding_gives_text_and_holds_back_half_a_character() -> None:
    task, source = made(), Source(text="tee")
    written = np.array(ids("thé"))
    samples = task.encode(source, Translation.Options())
    whole = task.decode(source, samples, [Prediction({"ids": written})], Translation.Options())
    piece = task.decode(source, samples, [Prediction({"ids": written[:-1]}, final=False)], Translation.Options())
    assert (whole.text, piece.text) == ("thé", "th")


@pytest.mark.parametrize("text", ["", "  \n"])
def test_an_empty_text_is_translated_to_an_empty_one(text: str) -> None:
    task = made()
    samples = task.encode(Source(text=text), Translation.Options())
    assert samples[0].notes["max_new_tokens"] == 1
    written = [Prediction({"ids": np.array(ids("noise"))})]
    assert task.decode(Source(text=text), samples, written, Translation.Options()).text == ""


@pytest.mark.parametrize(("field", "row"), [("text", ("x" * 9, "y")), ("translation", ("x", "y" * 9))])
def test_a_text_beyond_the_context_is_refused(field: str, row: tuple[str, str]) -> None:
    task = made(context=10)
    record = task.records([{"text": row[0], "translation": row[1]}])[0]
    with pytest.raises(ValueError, match=f"'{field}' has 9 tokens; this model reads 8 at most: give it sentence by"):
        task.learn(record, RNG)
    assert task.encode(Source(text="x" * 8), Translation.Options())


def test_the_tokenizer_learns_both_languages() -> None:
    rows = [{"text": "a", "translation": "b"}, {"text": "c", "translation": "d"}]
    task = made()
    assert list(task.corpus("text", task.records(rows))) == ["a", "b", "c", "d"]


def test_the_dictionary_learns_which_words_go_together_and_copies_the_others() -> None:
    learned = lexicon.learn((row["text"], row["translation"]) for row in Translation.examples())
    assert {word: learned[word] for word in ("schnee", "buch", "zeitung")} == {
        "schnee": "snow",
        "buch": "book",
        "zeitung": "newspaper",
    }
    assert "treppe" not in learned
    assert lexicon.translate("Buch, Schnee: 1999!", {"buch": "book", "schnee": "snow"}) == "book, snow: 1999!"


def test_baselines_copy_and_translate_word_by_word() -> None:
    found = {name: method(Source(text="Das Buch")).text for name, method in made().baselines().items()}
    assert found["copy"] == "Das Buch"
    assert found["dictionary"].split()[-1] == "book"


def test_without_pairs_to_learn_from_the_dictionary_copies() -> None:
    task = made()
    task.state = {}
    assert {method(Source(text="Das Buch")).text for method in task.baselines().values()} <= {"Das Buch", "das Buch"}


def test_the_picture_shows_text_output_and_truth() -> None:
    figure = made().draw(Source(text="eins"), Translated(text="on$e"), Reference(translation="one"))
    shown = [text.get_text() for text in figure.axes[0].texts]
    assert shown == ["text", "eins", "output", r"on\$e", "truth", "one"]
    figure.canvas.draw()


def test_a_text_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="row 1: 'translation' is missing; given: 'text', 'target'"):
        made().records([{"text": "a", "target": "b"}])[0]


def test_the_head_shares_the_table_of_the_tokens() -> None:
    trunk: Any = SimpleNamespace(output=SimpleNamespace(width=16, causal=True, cross=True))
    head: Any = made().head(trunk)
    assert (head.stream, head.tied, tuple(head.output.weight.shape)) == ("target", True, (259, 16))
    head = made(tied=False, bias=True, scale=0.25).head(trunk)
    assert (head.tied, head.scale, tuple(head.output.bias.shape)) == (False, 0.25, (259,))


@pytest.mark.parametrize("half", [{"causal": False, "cross": True}, {"causal": True, "cross": False}], ids=str)
def test_a_decoder_that_sees_its_answer_is_refused(half: dict[str, bool]) -> None:
    from anyformer.nn.config import Trunk

    trunk = Trunk.model_validate({"encoder": {"width": 8, "attention": {"heads": 1}}, "decoder": {
        "width": 8, "attention": {"heads": 1}, **half}})  # fmt: skip
    tokenizers = {"text": Bytes(Bytes.Config())}
    with pytest.raises(ValueError, match=r"trunk\.decoder needs causal=true, cross=true"):
        Translation(Translation.Config(), tokenizers).head(trunk)
