from __future__ import annotations

import json
import math
import string
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anyformer.task import Prediction, Tokenizer
from anyformer_nlp.cloze import Candidate, Filled, Filling, Gap, Gaps, Hidden, hide, ids_around, whole
from anyformer_nlp.fill_mask import FillMask
from anyformer_nlp.pretrained import Pretrained
from anyformer_nlp.tokenizers import END, MASK, NUM_SPECIAL, START, Bpe, Bytes

TEXTS = ["the red cat sat on the red mat", "the dog sat, and the cat ran", "a red dog and a red cat"] * 3


def bpe() -> Bpe:
    tokenizer = Bpe(Bpe.Config())
    tokenizer.fit(TEXTS, np.random.default_rng(0))
    return tokenizer


def made(tokenizer: Tokenizer | None = None, rows: list[dict[str, Any]] | None = None, **config: Any) -> FillMask:
    task = FillMask(FillMask.Config(**config), {"text": tokenizer or bpe()})
    task.state = task.fit(task.records([{"text": text} for text in TEXTS] if rows is None else rows))
    return task


def options(**given: Any) -> FillMask.Options:
    return FillMask.Options(**given)


@pytest.mark.parametrize("text", TEXTS[:3])
@pytest.mark.parametrize("kind", [bpe, lambda: Bytes(Bytes.Config())])
def test_a_mark_changes_no_id_around_it(text: str, kind: Any) -> None:
    tokenizer = kind()
    ids, spans = tokenizer.encode_spans(text)
    for place, (start, end) in enumerate(spans.tolist()):
        start += text[start] == " " and end - start > 1  # a mark has spaces around it, as a person writes it
        found, marks = ids_around(f"{text[:start]}_{text[end:]}", "_", tokenizer)
        expected = ids.copy()
        expected[place] = MASK
        np.testing.assert_array_equal(found, expected)
        assert marks.tolist() == [place]


def test_marks_stand_where_the_text_has_them() -> None:
    (sample,) = made(Bytes(Bytes.Config())).encode(Gaps(text="a[MASK][MASK]b[MASK]"), options())
    a, b = (ord(letter) + NUM_SPECIAL for letter in "ab")
    assert sample.parts["source"].tolist() == [START, a, MASK, MASK, b, MASK, END]
    assert sample.notes["marks"] == [2, 3, 5]


def test_another_mark_and_a_text_without_one() -> None:
    task = made()
    (sample,) = task.encode(Gaps(text="the ___ sat"), options(mark="___"))
    assert sample.parts["source"].tolist().count(MASK) == 1
    with pytest.raises(ValueError, match="'text' has no <mask>; write one where a token is to be filled in: 'the "):
        task.encode(Gaps(text="the [MASK] sat"), options(mark="<mask>"))


def checkpoint(folder: Path, kind: str) -> Pretrained:
    """The tokenizer files of a small BERT or RoBERTa."""
    if kind == "bert":
        words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *string.ascii_lowercase, ".", ",", "the", "cat", "##ing"]
        (folder / "vocab.txt").write_text("\n".join(words) + "\n")
        named = {"tokenizer_class": "BertTokenizer", "do_lower_case": True}
    else:
        from tokenizers import ByteLevelBPETokenizer

        rust = ByteLevelBPETokenizer()
        special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
        rust.train_from_iterator(TEXTS, vocab_size=300, special_tokens=special, show_progress=False)
        rust.save_model(str(folder))
        named = {"tokenizer_class": "RobertaTokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps(named))
    (folder / "config.json").write_text(json.dumps({"model_type": kind}))
    return Pretrained.read(folder, {"model_type": kind, "vocab_size": 400})


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_ids_are_those_of_the_peer(kind: str, tmp_path: Path) -> None:
    from transformers import AddedToken, AutoTokenizer

    ours = checkpoint(tmp_path, kind)
    named = {} if kind == "bert" else {"mask_token": AddedToken("<mask>", lstrip=True, special=True)}
    theirs = AutoTokenizer.from_pretrained(tmp_path, **named)
    for text in ("the _ sat on the mat.", "_ cat", "the red _, and the _", "the cat _", "_ _ cat"):
        expected = theirs(text.replace("_", theirs.mask_token))["input_ids"]
        assert ours.single(ids_around(text, "_", ours)[0]).tolist() == expected, text


def test_letters_after_a_mark_go_on_its_word(tmp_path: Path) -> None:
    tokenizer = checkpoint(tmp_path, "bert")
    ids, _ = ids_around("the _ing", "_", tokenizer)
    assert ids[-1] == tokenizer.engine.id_of("##ing")


def test_a_mark_of_a_long_text_is_read_with_context_on_both_sides() -> None:
    task = made(Bytes(Bytes.Config()), context=12)
    text = "abcdefghij" * 3
    samples = task.encode(Gaps(text=f"[MASK]{text}[MASK]{text}[MASK]"), options())
    assert [len(sample.parts["source"]) for sample in samples] == [12, 12, 12]
    assert [sample.notes["marks"] for sample in samples] == [[1], [6], [10]]
    for sample in samples:
        assert sample.parts["source"][sample.notes["marks"]].tolist() == [MASK]


def test_learning_hides_tokens_of_the_whole_text_by_the_given_generator_alone() -> None:
    task = made(Bytes(Bytes.Config()), context=12)
    text = "abcdefghij" * 4
    record = task.records([{"text": text}])[0]
    drawn = [task.learn(record, np.random.default_rng(seed))[0] for seed in range(40)]
    begins = set()
    for sample in drawn:
        ids, labels = sample.parts["source"], sample.targets["labels"]
        assert (ids[0], ids[-1], len(ids)) == (START, END, 12)
        read = np.where(labels == -100, ids, labels)[1:-1]
        assert Bytes(Bytes.Config()).decode(read) in text
        assert 1 <= (labels != -100).sum() < 10
        begins.add(int(read[0]))
    assert len(begins) > 5
    again = task.learn(record, np.random.default_rng(3))[0]
    np.testing.assert_array_equal(again.parts["source"], drawn[3].parts["source"])


def test_a_whole_text_hides_the_same_whole_word_each_time() -> None:
    tokenizer = bpe()
    for text in TEXTS[:3]:
        record = hide(text, tokenizer)
        assert hide(text, tokenizer) == record
        assert whole(record) == text
        (hidden,) = record.target.hidden
        assert hidden in text.replace(",", "").split()
        assert len(tokenizer.encode(hidden)["ids"]) == 1


def test_rows_with_marks_say_what_they_hide() -> None:
    task = made()
    row = {"text": "the [MASK] sat", "hidden": "cat"}
    record = task.records([row])[0]
    assert (record.target.hidden, whole(record)) == (["cat"], "the cat sat")
    assert list(task.corpus("text", task.records([row, {"text": "a b"}]))) == ["the cat sat", "a b"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"text": "a [MASK]"}, "row 2: 'hidden' is missing; given: 'text'"),
        (
            {"text": "a [MASK]", "hidden": ["b", "c"]},
            r"row 2: 'text' has 1 \[MASK\] and 'hidden' 2 texts; there must be",
        ),
        ({"text": "a", "hidden": []}, r"row 2: 'text' has 0 \[MASK\] and 'hidden' 0 texts; there must be one for each"),
        ({"text": "  "}, "row 2: 'text' has no token that could be hidden; leave it out, or write it longer: '  '"),
        ({"hidden": "a"}, "row 2: 'text' is missing; given: 'hidden'"),
    ],
)
def test_bad_rows_are_named(row: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        made().records([{"text": "the cat"}, row])[1:][0]


def test_the_answer_has_the_most_probable_tokens_and_no_special_ones() -> None:
    task = made()
    tokenizer = task.tokens["text"]
    cat, dog = (int(tokenizer.encode(word)["ids"][0]) for word in ("cat", "dog"))
    logits = np.full((1, tokenizer.vocabulary_size), -9.0, dtype=np.float32)
    logits[0, [END, cat, dog]] = np.log([0.5, 0.3, 0.2])
    input = Gaps(text="the [MASK], asleep")
    answer = task.decode(input, [], [Prediction({"logits": logits})], options(top=2))
    assert answer.text == "the cat, asleep"
    assert [each.token for each in answer.masks[0].candidates] == ["cat", "dog"]
    assert [each.score for each in answer.masks[0].candidates] == pytest.approx([0.3, 0.2], rel=0.05)
    everything = task.decode(input, [], [Prediction({"logits": logits})], options(top=None))
    assert len(everything.masks[0].candidates) == tokenizer.vocabulary_size - NUM_SPECIAL


def test_scores_are_of_marks() -> None:
    def gap(*scores: float) -> Gap:
        return Gap(candidates=[Candidate(token=f" {'abcdefg'[place]}", score=s) for place, s in enumerate(scores)])

    metric = Filled(str, 11)
    output = Filling(text="", masks=[gap(0.5, 0.2), gap(0.5, 0.2), gap(0.5, 0.2), gap(0.3, 0.2, 0.1, 0.1, 0.1, 0.05)])
    row = metric.row(output, Hidden(hidden=["a", "b ", "z", "f"]))
    assert row[:3] == (4, 1, 2)
    found = metric.scores(np.array([row]))
    assert (found["accuracy"], found["accuracy_at_5"]) == (0.25, 0.5)
    assert found["perplexity"] == pytest.approx((0.5 * 0.2 * (0.3 / 9) * 0.05) ** -0.25)
    with pytest.raises(ValueError, match="4 marks were filled and 1 hidden; they must agree"):
        metric.row(output, Hidden(hidden=["a"]))


def test_the_baseline_is_the_unigram_and_without_counts_uniform() -> None:
    task = made()
    answer = task.baselines()["unigram"](Gaps(text="[MASK] x [MASK]"))
    assert [gap.candidates[0].token for gap in answer.masks] == ["the", "the"]
    assert answer.text == "the x the"
    counts = np.asarray(task.state["counts"])
    assert answer.masks[0].candidates[0].score == pytest.approx(
        (counts.max() + 1) / (counts.sum() + len(counts) - NUM_SPECIAL)
    )
    read = FillMask(FillMask.Config(), task.tokens).baselines()["unigram"](Gaps(text="[MASK]"))
    assert math.isclose(read.masks[0].candidates[0].score, 1 / (len(counts) - NUM_SPECIAL))


def test_a_tokenizer_without_a_mask_is_refused() -> None:
    tokenizer = bpe()
    task = made(tokenizer)
    tokenizer.mask_id = None
    with pytest.raises(
        ValueError, match="this model's tokenizer has no mask id; fill marks with a model that was trained"
    ):
        task.encode(Gaps(text="[MASK]"), options())


def test_the_picture_has_bars_for_each_mark_and_marks_the_truth() -> None:
    task = made()
    input = Gaps(text="$1 or $2 [MASK] " * 8)
    figure = task.draw(input, task.baselines()["unigram"](input), Hidden(hidden=["the"] * 8))
    assert len(figure.axes) == 6
    assert "(2 more marks not shown)" in figure.get_suptitle()
    assert figure.axes[0].get_title(loc="left") == "mark 1, truth: the"
    figure.canvas.draw()
