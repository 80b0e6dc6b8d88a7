from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from anyformer.task import Prediction, Record
from anyformer_nlp.pieces import joined, pieces_of, windows
from anyformer_nlp.tagged import Tags, Words
from anyformer_nlp.token_classification import IGNORED, TokenClassification
from anyformer_nlp.tokenizers import END, START, Bytes

RNG = np.random.default_rng(0)
LABELS = ["B-person", "B-place", "I-person", "I-place", "O"]


def made(rows: list[dict[str, Any]] | None = None, **config: Any) -> TokenClassification:
    task = TokenClassification(TokenClassification.Config(**config), {"text": Bytes(Bytes.Config())})
    task.state = task.fit(task.records(TokenClassification.examples() if rows is None else rows))
    return task


def options(**given: Any) -> TokenClassification.Options:
    return TokenClassification.Options(**given)


def certain(task: TokenClassification, samples: list[Any], record: Record[Words, Tags]) -> list[Prediction]:
    """Predictions that are right at each labelled piece, and wrong at every other."""
    found = []
    for sample in samples:
        logits = np.zeros((len(sample.parts["source"]), len(task.state["labels"])), dtype=np.float32)
        labels = sample.targets["labels"]
        logits[np.arange(len(labels)), np.where(labels == IGNORED, 0, labels)] = 9.0
        found.append(Prediction({"logits": logits}))
    return found


def test_a_word_is_learned_at_its_first_piece() -> None:
    task = made()
    (sample,) = task.learn(Record(Words(text=["Ada", "in", "York"]), Tags(tags=["B-person", "O", "B-place"])), RNG)
    assert sample.parts["source"][[0, -1]].tolist() == [START, END]
    labels = sample.targets["labels"]
    assert len(labels) == len(sample.parts["source"]) == len("Ada in York") + 2
    expected = np.full(len(labels), IGNORED)
    expected[[1, 5, 8]] = [LABELS.index("B-person"), LABELS.index("O"), LABELS.index("B-place")]
    np.testing.assert_array_equal(labels, expected)


def test_a_text_and_its_words_are_read_alike() -> None:
    task = made()
    text, words = (task.encode(Words(text=given), options())[0] for given in ("Ada slept .", ["Ada", "slept", "."]))
    np.testing.assert_array_equal(text.parts["source"], words.parts["source"])


@pytest.mark.parametrize("text", ["", "  ", []])
def test_an_empty_text_has_no_words(text: Any) -> None:
    task = made()
    samples = task.encode(Words(text=text), options())
    answer = task.decode(
        Words(text=text),
        samples,
        [Prediction({"logits": np.zeros((len(sample.parts["source"]), 5))}) for sample in samples],
        options(),
    )
    assert (answer.words, answer.tags, answer.entities) == ([], [], [])


def test_a_long_text_is_windows_in_which_every_word_is_learned_once_and_answered() -> None:
    task = made(context=20)
    words = ["Ada", "Lovelace", "lived", "in", "London"] * 7
    record = Record(Words(text=words), Tags(tags=["B-person", "I-person", "O", "O", "B-place"] * 7))
    samples = task.learn(record, RNG)
    assert max(len(sample.parts["source"]) for sample in samples) == 20
    assert sum(int((sample.targets["labels"] != IGNORED).sum()) for sample in samples) == len(words)
    answer = task.decode(record.input, task.encode(record.input, options()), certain(task, samples, record), options())
    assert answer.tags == record.target.tags
    assert min(answer.scores) > 0.99


def test_entities_have_the_characters_of_the_text() -> None:
    task = made()
    text = "So Kurt  Gödel left «New York»."
    record = Record(
        Words(text=text), Tags(tags=["O", "B-person", "I-person", "O", "O", "B-place", "I-place", "O", "O"])
    )
    answer = task.decode(record.input, [], certain(task, task.learn(record, RNG), record), options())
    assert answer.words == ["So", "Kurt", "Gödel", "left", "«", "New", "York", "»", "."]
    assert [(each.text, each.label) for each in answer.entities] == [("Kurt  Gödel", "person"), ("New York", "place")]
    for each in answer.entities:
        assert text[each.start : each.end] == each.text
        assert 0.99 < each.score <= 1


def test_pieces_join_as_asked() -> None:
    shares = np.array([[0.6, 0.4], [0.05, 0.95], [0.5, 0.5]])
    assert joined(shares, "first").tolist() == [0.6, 0.4]
    assert joined(shares, "mean").tolist() == pytest.approx([1.15 / 3, 1.85 / 3])
    assert joined(shares, "max").tolist() == [0.05, 0.95]


def test_a_piece_may_touch_two_words_and_a_word_may_have_no_piece() -> None:
    spans = np.array([[0, 2], [2, 6], [8, 9]])
    assert pieces_of(spans, [(0, 3), (3, 5), (6, 7), (8, 9)]) == [slice(0, 2), slice(1, 2), slice(2, 2), slice(2, 3)]


def test_a_word_that_was_not_seen_is_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    task = made()
    nothing = (np.zeros(0, np.int64), np.zeros((0, 2), np.int64))
    monkeypatch.setattr(task.tokens["text"], "encode_spans", lambda text: nothing)
    answer = task.decode(Words(text=["\u200b"]), [], [], options())
    assert (answer.tags, answer.scores) == (["O"], [0.0])


@pytest.mark.parametrize(("length", "room"), [(0, 5), (5, 5), (6, 5), (23, 5), (1000, 97), (7, 1)])
def test_windows_answer_for_every_piece_once_with_context_on_both_sides(length: int, room: int) -> None:
    found = windows(length, room)
    answered = [place for _, own in found for place in range(own.start, own.stop)]
    assert answered == list(range(length))
    for window, own in found:
        assert 0 <= window.start <= own.start < own.stop <= window.stop <= length
        assert window.stop - window.start <= room
        assert own.start == 0 or own.start - window.start >= room // 8
        assert own.stop == length or window.stop - own.stop >= room // 8


def test_baselines_are_the_majority_and_a_dictionary() -> None:
    task = made()
    methods = task.baselines()
    text = Words(text="Vienna knew Ada")
    assert methods["majority"](text).tags == ["O", "O", "O"]
    assert methods["dictionary"](text).tags == ["B-place", "O", "B-person"]
    assert [each.text for each in methods["dictionary"](text).entities] == ["Vienna", "Ada"]


def test_with_labels_alone_baselines_answer_something_trivial() -> None:
    for labels, tag in ((LABELS, "O"), (["NOUN", "VERB"], "NOUN")):
        task = TokenClassification(
            TokenClassification.Config(), {"text": Bytes(Bytes.Config())}, {"labels": list(labels)}
        )
        answers = [method(Words(text="a b")) for method in task.baselines().values()]
        assert [answer.tags for answer in answers] == [[tag, tag]] * 2


def test_plain_tags_name_no_entities_and_are_scored_by_accuracy() -> None:
    task = made([{"text": "dogs bark", "tags": ["NOUN", "VERB"]}])
    assert [name for metric in task.metrics() for name in metric.names] == ["accuracy"]
    assert task.baselines()["dictionary"](Words(text="dogs bark")).tags == ["NOUN", "VERB"]
    assert not task.baselines()["dictionary"](Words(text="dogs bark")).entities
    assert [name for metric in made().metrics() for name in metric.names] == ["f1", "precision", "recall", "accuracy"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"text": "a b", "tags": ["O"]}, "row 1: 'text' has 2 words and 'tags' 1; there must be one for each word: 'a'"),
        ({"text": "a"}, "row 1: 'tags' is missing; given: 'text'"),
        ({"text": ["a", ""], "tags": ["O", "O"]}, "row 1: 'text': word 2 is ''; each must be a text that is not empty"),
        ({"text": ["a", 1], "tags": ["O", "O"]}, "row 1: 'text': word 2 is 1; each must be a text that is not empty"),
        ({"text": "a", "tags": [""]}, "row 1: 'tags.0': String should have at least 1 character"),
        ({"text": 3, "tags": []}, "row 1: 'text.*': Input should be a valid string"),
    ],
)  # fmt: skip
def test_bad_rows_name_their_field(row: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        made().records([row])[0]


def test_a_row_keeps_its_number_in_a_slice() -> None:
    with pytest.raises(ValueError, match="row 3: 'text' has 1 words"):
        made().records([{"text": "a", "tags": ["O"]}] * 2 + [{"text": "a", "tags": []}])[1:][1]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"text": "a b", "tags": ["O", "O"]}], "the training data has 1 tag: 'O'; a tagger needs two or more"),
        ([], "the training data has 0 tags; a tagger needs two or more"),
    ],
)
def test_one_tag_is_too_few(rows: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        made(rows)


def test_a_tag_that_training_did_not_see_is_named() -> None:
    with pytest.raises(ValueError, match="the tag 'B-river' was not in the training data; tags: 'B-person'"):
        made().learn(Record(Words(text="Elbe"), Tags(tags=["B-river"])), RNG)


def test_the_picture_shows_tags_and_the_truths_that_differ() -> None:
    task = made()
    input = Words(text="Vienna costs $5 or $6 and knew Ada " * 60)
    answer = task.baselines()["dictionary"](input)
    truth = ["O" if tag == "B-place" else tag for tag in answer.tags]
    figure = task.draw(input, answer, Tags(tags=truth))
    shown = [text.get_text() for text in figure.axes[0].texts]
    assert "truth: O" in shown
    assert "B-person" in shown
    assert shown[-1] == f"{len(answer.words) - 200} more words not shown"
    figure.canvas.draw()
