from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from anyformer.task import Array, Prediction
from anyformer_nlp import bigrams
from anyformer_nlp.continuation_metrics import ContinuationChrf, FirstWord
from anyformer_nlp.continuations import seam
from anyformer_nlp.text_generation import IGNORED, Continuation, Prompt, TextGeneration, Truth
from anyformer_nlp.tokenizers import END, START, Bpe, Bytes

RNG = np.random.default_rng(0)


class Bare(Bytes):
    """A tokenizer that sets nothing around a text, as GPT-2's."""

    start_id = None

    def single(self, ids: Array) -> Array:
        return ids


def made(kind: type[Bytes] = Bytes, **config: Any) -> TextGeneration:
    task = TextGeneration(TextGeneration.Config(**config), {"text": kind(kind.Config())})
    task.state = task.fit(task.records(TextGeneration.examples()))
    return task


def made_bpe(*texts: str) -> TextGeneration:
    tokenizer = Bpe(Bpe.Config(min_frequency=1))
    tokenizer.fit(texts, RNG)
    return TextGeneration(TextGeneration.Config(), {"text": tokenizer})


def ids(text: str) -> list[int]:
    return Bytes(Bytes.Config()).encode(text)["ids"].tolist()


def options(**given: Any) -> TextGeneration.Options:
    return TextGeneration.Options(**given)


def learned(task: TextGeneration, **row: Any) -> tuple[list[int], list[int]]:
    (sample,) = task.learn(task.records([row])[0], RNG)
    assert {sample.parts["target"].dtype, sample.targets["labels"].dtype} == {np.dtype(np.int64)}
    return sample.parts["target"].tolist(), sample.targets["labels"].tolist()


def answered(task: TextGeneration, prompt: str, written: list[int], final: bool = True, **given: Any) -> Continuation:
    samples = task.encode(Prompt(text=prompt), options())
    predictions = [Prediction({"ids": np.array(written, dtype=np.int64)}, final)]
    return task.decode(Prompt(text=prompt), samples, predictions, options(**given))


def test_a_continuation_is_learned_given_its_prompt() -> None:
    target, labels = learned(made(), text="abc", continuation=" xy")
    assert target == [START, *ids("abc xy")]
    assert labels == [IGNORED, IGNORED, IGNORED, *ids(" xy"), END]


def test_a_text_alone_is_learned_whole_and_cut_in_two_to_be_scored() -> None:
    task = made()
    assert learned(task, text="one two three") == ([START, *ids("one two three")], [*ids("one two three"), END])
    (record,) = task.records([{"text": "one two three", "continuation": None}])
    assert (record.input.text, record.target.continuation) == ("one", " two three")
    whole = Truth(continuation=" two three", whole=True)
    assert record.target == whole


@pytest.mark.parametrize(
    ("text", "most", "place"),
    [("rain tomorrow", 99, 4), ("abcdef", 99, 3), ("", 99, 0), ("a b c d e f", 4, 3), ("小籠包小籠包", 7, 2)],
)
def test_a_text_is_cut_at_a_space_near_its_middle_and_early_enough_for_the_context(
    text: str, most: int, place: int
) -> None:
    assert seam(text, most) == place


def test_a_long_text_is_learned_in_windows_that_reach_all_of_it() -> None:
    task, text = made(context=8), "abcdefghijklmnopqrst"
    (record,) = task.records([{"text": text}])
    sequence, seen = [START, *ids(text), END], set()
    for seed in range(60):
        (sample,) = task.learn(record, np.random.default_rng(seed))
        target, labels = sample.parts["target"].tolist(), sample.targets["labels"].tolist()
        first = sequence.index(target[0])
        assert (target, labels) == (sequence[first : first + 8], sequence[first + 1 : first + 9])
        seen.update(labels)
    assert seen == set(sequence[1:])
    assert task.encode(record.input, options())  # what is to be scored fits the context


def test_a_prompt_begins_with_the_start_and_leaves_room_to_write() -> None:
    (sample,) = made(context=10).encode(Prompt(text="ab"), options())
    assert sample.parts["target"].tolist() == [START, *ids("ab")]
    assert sample.notes == {"end": END, "max_new_tokens": 7}
    assert not sample.targets


def test_without_a_start_an_empty_prompt_is_the_end_id() -> None:
    task = made(Bare)
    prompts = {text: task.encode(Prompt(text=text), options())[0].parts["target"].tolist() for text in ("", "ab")}
    assert prompts == {"": [END], "ab": ids("ab")}
    assert learned(task, text="ab", continuation="c") == (ids("abc"), [IGNORED, *ids("c"), END])
    assert learned(task, text="", continuation="c") == ([END, *ids("c")], [*ids("c"), END])
    assert learned(task, text="abcd") == ([END, *ids("abcd")], [*ids("abcd"), END])


def test_what_does_not_fit_the_context_is_refused() -> None:
    task = made(context=8)
    assert task.encode(Prompt(text="x" * 6), options())
    message = "'text' has 8 tokens; this model reads and writes 8 in all, so give 7 at most"
    with pytest.raises(ValueError, match=message):
        task.encode(Prompt(text="x" * 7), options())
    assert learned(task, text="x" * 5, continuation="yy")
    with pytest.raises(ValueError, match="'text' and 'continuation' have 9 tokens; this model reads and writes 8 in"):
        learned(task, text="x" * 6, continuation="yy")


def test_pieces_of_words_keep_their_space_and_a_seam_inside_a_token_is_learned() -> None:
    task = made_bpe("the cat sat on the mat", "the cat sat")
    tokenizer = task.tokens["text"]
    whole, prompt = (tokenizer.encode(text)["ids"].tolist() for text in ("the cat sat on", "the cat sat"))
    assert whole[: len(prompt)] == prompt
    assert answered(task, "the cat sat", whole[len(prompt) :]).text == " on"
    assert answered(task, "", whole).text == "the cat sat on"
    target, labels = learned(task, text="the c", continuation="at sat")
    assert target == [START, *prompt]
    place = labels.index(next(label for label in labels if label != IGNORED))
    assert tokenizer.decode(target[: place + 1]) == "the"
    assert tokenizer.decode(target[place + 1 :]) == "cat sat"


def test_an_answer_is_cut_before_its_first_stop() -> None:
    task = made()
    written = ids("4\nQ: 3?\nA: 5")
    assert answered(task, "A:", written) == Continuation(text="4\nQ: 3?\nA: 5", ended="end")
    assert answered(task, "A:", written, stop=["A:", "\nQ"]) == Continuation(text="4", ended="stop")
    assert answered(task, "A:", written, stop=["zzz"], max_new_tokens=len(written)).ended == "limit"
    assert answered(made(context=6), "abc", ids("de")).ended == "limit"
    with pytest.raises(ValueError, match="stop"):
        options(stop=[""])


def test_more_answers_than_one_are_alternatives() -> None:
    task, prompt = made(), Prompt(text="A")
    texts = [" dog. Or", " cat", ""]
    written = np.array([token for text in texts for token in ids(text)])
    values = {"ids": np.array(ids(texts[0])), "answers": written, "lengths": np.array([len(text) for text in texts])}
    asked = options(sample=True, num_answers=3, stop=["."])
    answer = task.decode(prompt, task.encode(prompt, asked), [Prediction(values)], asked)
    assert answer == Continuation(text=" dog", ended="stop", alternatives=[" cat", ""])


def test_a_piece_of_a_stream_holds_back_what_may_be_a_stop() -> None:
    task, text = made(), "thé end\nQ"
    pieces = [answered(task, "A:", ids(text)[:size], final=False, stop=["\nQ:"]).text for size in range(len(ids(text)))]
    assert pieces == ["", "t", "th", "th", "thé", "thé ", "thé e", "thé en", "thé end", "thé end"]
    assert answered(task, "A:", ids(text), stop=["\nQ:"]) == Continuation(text=text, ended="end")
    assert answered(task, "A:", ids(text), final=False).ended is None


def test_scores_compare_as_much_as_was_written() -> None:
    truth = Truth(continuation=" a dog runs in the snow")
    chrf, first = ContinuationChrf(), FirstWord()

    def score(text: str, ended: Any) -> float:
        rows = np.array([chrf.row(Continuation(text=text, ended=ended), truth)])
        return chrf.scores(rows)["chrf"]

    assert score("a dog runs", "limit") == pytest.approx(100)
    assert 0 < score("a dog runs", "end") < 70
    assert [first.row(Continuation(text=text), truth)[0] for text in ("a cat", " a", "an", "")] == [1, 1, 0, 0]
    exact = made().metrics()[2]
    assert exact.names == ("exact_match",)
    assert exact.row(Continuation(text="a dog runs in the snow\n"), truth)[0] == 1


def test_the_baselines_repeat_and_write_what_follows_most_often() -> None:
    table = bigrams.learn(["a b c", "a b d", "x b c"])
    assert table == {"": "a", "a": "b", "b": "c", "c": "", "d": "", "x": "b"}
    assert bigrams.write("x", table, 9) == " b c"
    assert bigrams.write("unknown ", table, 2) == "a b"
    assert bigrams.write("", table, 9) == "a b c"
    assert bigrams.write("x", {}, 9) == ""
    assert bigrams.repeat("one two three", 2) == " two three"
    assert bigrams.repeat("", 2) == ""
    methods = made().baselines()
    assert methods["frequent"](Prompt(text="A dog")).text == " runs in the"  # three words, the middle length
    unfitted = TextGeneration(TextGeneration.Config(), {"text": Bytes(Bytes.Config())}).baselines()
    assert [unfitted[name](Prompt(text="A dog")).text for name in ("repeat", "frequent")] == [" A dog", ""]


def test_a_decoder_that_sees_ahead_or_reads_an_encoder_is_refused() -> None:
    from anyformer.nn.config import Stack, Trunk

    message = "a text is written left to right from its prompt alone: trunk.decoder needs causal=true, cross=false"
    for trunk in (Trunk(decoder=Stack()), Trunk(encoder=Stack(), decoder=Stack(causal=True, cross=True))):
        with pytest.raises(ValueError, match=message):
            made().head(trunk)


def test_the_config_decides_the_modules_of_the_head() -> None:
    from anyformer.nn.config import Trunk

    trunk = Trunk.model_validate(TextGeneration.default_trunk)
    head: Any = made(tied=False, bias=True, scale=0.5).head(trunk)
    assert (head.tied, head.scale, list(dict(head.named_parameters()))) == (
        False,
        0.5,
        ["output.weight", "output.bias"],
    )


def test_a_tokenizer_without_an_end_is_refused() -> None:
    task = made(Bare)
    task.tokens["text"].end_id = None
    with pytest.raises(ValueError, match="this tokenizer has no end id, so a text would never end; use one that has"):
        task.encode(Prompt(text="a"), options())


def test_a_row_without_a_text_is_refused() -> None:
    with pytest.raises(ValueError, match="row 1: 'text' is missing; given: 'words'"):
        made().records([{"words": "a"}])[0]


def test_the_picture_shows_prompt_output_and_truth() -> None:
    figure = made().draw(Prompt(text="A"), Continuation(text=" dog"), Truth(continuation=" cat"))
    assert [text.get_text() for text in figure.axes[0].texts][::2] == ["prompt", "output", "truth"]
    figure.canvas.draw()
