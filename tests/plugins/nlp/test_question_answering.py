from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from questions import LONG, RNG, learned, made, options, record_of, text_of

from anyformer.data import open_data
from anyformer.task import Prediction, validate
from anyformer_nlp.answers import Answer, Question, TrueAnswers
from anyformer_nlp.question_answering import QuestionAnswering
from anyformer_nlp.tokenizers import Bytes
from anyformer_nlp.words import Words

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data" / "nlp" / "squad2_en" / "train.json.gz"


def answered(task: QuestionAnswering, input: Question, scores: list[tuple[Any, Any]], **given: Any) -> Answer:
    predictions = [Prediction({"start": np.asarray(start), "end": np.asarray(end)}) for start, end in scores]
    return task.decode(input, task.encode(input, options()), predictions, options(**given))


def test_a_context_without_a_token_has_no_answer() -> None:
    task = made(learned(Words(Words.Config(min_frequency=1))))
    answer = answered(task, Question(question="Who?", context=" \n"), [([1, 0, 0, 0, 0], [2, 0, 0, 0, 0])])
    assert (answer.answer, answer.start, answer.no_answer, answer.candidates) == ("", None, 1.0, [])


def test_one_of_several_answers_is_drawn_by_the_given_generator() -> None:
    task = made()
    record = record_of(task, answers=[{"text": "b", "start": 1}, {"text": "e", "answer_start": 4}])
    drawn = [int(task.learn(record, np.random.default_rng(seed))[0].targets["start"][0]) for seed in range(20)]
    assert set(drawn) == {3 + 1, 3 + 4}
    assert drawn == [int(task.learn(record, np.random.default_rng(seed))[0].targets["end"][0]) for seed in range(20)]


def test_white_space_around_a_true_answer_is_left_out() -> None:
    task = made()
    (sample,) = task.learn(record_of(task, context="a  bc d", answers=[{"text": "  bc ", "start": 1}]), RNG)
    assert text_of(sample, "a  bc d", int(sample.targets["start"][0]), int(sample.targets["end"][0])) == "bc"


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"text": "bcd", "start": 2}, "the answer 'bcd' does not begin at character 2 of the context, where 'cde' is; it"),
        ({"text": "nn", "start": 2}, "the answer 'nn' does not begin .* where 'cd' is; it stands nowhere in it"),
        ({"text": "z", "start": 400}, "the answer 'z' does not begin at character 400 of the context, where '' is"),
        ({"text": LONG, "start": 0}, "fits in no window of context=64 tokens beside its question; set a longer context"),
        ({"text": " ", "start": 150}, "the answer at character 151 of the context holds nothing that the tokenizer reads"),
    ],
)  # fmt: skip
def test_an_answer_that_cannot_be_learned_is_refused(answer: dict[str, Any], message: str) -> None:
    task = made(context=64)
    with pytest.raises(ValueError, match=message):
        task.learn(record_of(task, context=LONG + " ", answers=[answer]), RNG)


@pytest.mark.parametrize("longest", [1, 7, 200])
def test_the_answer_is_the_best_legal_span_of_all_windows(longest: int) -> None:
    """Against a search over every span of every window."""
    task, context = made(context=32, stride=9), "ab c\u00e9 \u5c0f\u7c60 " * 5 + "end"
    input = Question(question="who", context=context)
    samples = task.encode(input, options())
    scores = [
        (RNG.normal(size=len(s.parts["source"])) * 3, RNG.normal(size=len(s.parts["source"])) * 3) for s in samples
    ]
    scores = [(start.astype(np.float32), end.astype(np.float32)) for start, end in scores]
    found = answered(task, input, scores, longest=longest, top=100)

    best: dict[tuple[int, int], float] = {}
    tokens = task.tokens["text"].encode_spans(context)[1].tolist()
    for sample, (starts, ends) in zip(samples, scores, strict=True):
        at, begin, size = sample.notes["at"], sample.notes["begin"], len(sample.notes["spans"])
        for first in range(size):
            for last in range(first, min(size, first + longest)):
                left, right = tokens[begin + first], tokens[begin + last]
                whole = (begin + first == 0 or tokens[begin + first - 1] != left) and (
                    begin + last + 1 == len(tokens) or tokens[begin + last + 1] != right
                )
                if whole and not context[slice(*left)].isspace() and not context[slice(*right)].isspace():
                    span, score = (left[0], right[1]), float(starts[at + first]) + float(ends[at + last])
                    best[span] = max(best.get(span, -np.inf), score)
    null = min(float(starts[0]) + float(ends[0]) for starts, ends in scores)
    total = np.exp(null) + sum(np.exp(score) for score in best.values())
    order = sorted(best, key=lambda span: -best[span])[:100]
    assert [(each.start, each.end) for each in found.candidates] == order
    assert [each.score for each in found.candidates] == pytest.approx([np.exp(best[span]) / total for span in order])
    assert all(each.answer == context[each.start : each.end] for each in found.candidates)
    assert found.no_answer == pytest.approx(np.exp(null) / total)
    assert (found.answer, found.start, found.end, found.score) == tuple(found.candidates[0].model_dump().values())


def test_no_answer_must_win_in_every_window() -> None:
    task = made(context=16, stride=100)
    input = Question(question="w", context="abcdefghijklmnopqr")
    assert len(task.encode(input, options())) == 2
    quiet, sure = np.zeros(16), np.eye(16)[0] * 9
    assert answered(task, input, [(sure, sure), (sure, sure)]).answer == ""
    spoken = answered(task, input, [(sure, sure), (quiet - 1, quiet)])
    assert (spoken.answer, spoken.start) == ("a", 0)


def test_the_threshold_is_the_odds_of_no_answer_against_the_best_span() -> None:
    task, input = made(), Question(question="w", context="ab")
    scores = [(np.array([2.0, 0, 0, 1, 0, 0]), np.array([0.0, 9, 9, 0, 0, 9]))]  # no answer 2, "a" 1, "ab" 1, "b" 0
    silent = answered(task, input, scores)
    assert (silent.answer, silent.start, silent.end) == ("", None, None)
    assert silent.score == silent.no_answer == pytest.approx(np.e**2 / (np.e**2 + 2 * np.e + 1))
    assert [each.answer for each in silent.candidates] == ["a"]
    assert answered(task, input, scores, threshold=0.99).answer == ""
    assert answered(task, input, scores, threshold=1.01).answer == "a"
    task.state = {"unanswerable": 0.0}
    assert answered(task, input, scores).answer == "a"
    assert answered(task, input, scores, threshold=0).answer == ""
    task.state = {}
    assert answered(task, input, scores).answer == ""


def test_a_squad_file_is_learned_and_scored(tmp_path: Path) -> None:
    asked = {"id": "1", "question": "Who?", "answers": [{"text": "Ana", "answer_start": 0}], "is_impossible": False}
    article = {"title": "Bread", "paragraphs": [{"context": "Ana bakes.", "qas": [asked]}]}
    (tmp_path / "a.json").write_text(json.dumps({"version": "v2.0", "data": [article]}))
    (record,) = made().records(open_data(tmp_path / "a.json"))
    assert record.input == Question(question="Who?", context="Ana bakes.")
    assert record.target.model_dump() == {"answers": [{"text": "Ana", "start": 0}], "id": "1"}


def test_answers_may_be_two_columns() -> None:
    columns = {"text": ["a", "b"], "answer_start": np.array([3, 4])}
    found = validate(TrueAnswers, {"answers": columns}, "row 1")
    assert [(each.text, each.start) for each in found.answers] == [("a", 3), ("b", 4)]
    assert validate(TrueAnswers, {"answers": {"text": [], "answer_start": []}}, "row 1").answers == []


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"question": "", "context": "a", "answers": []}, "row 1: 'question': String should have at least 1 character"),
        ({"question": "a", "context": "a"}, "row 1: 'answers' is missing; given: 'question', 'context'"),
        ({"question": "a", "context": "a", "answers": [{"text": "a"}]}, "row 1: 'answers.0.start' is missing"),
        (
            {"question": "a", "context": "a", "answers": {"text": ["a"]}},
            "columns of answers need as many 'answer_start'",
        ),
        ({"question": "a", "context": "a", "answers": "a"}, "row 1: 'answers': Input should be a valid list"),
    ],
)
def test_bad_rows_name_their_field(row: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        made().records([row])[0]


def test_baselines_need_nothing_learned() -> None:
    task = made()
    task.state = {}
    overlap, no_answer = task.baselines()["overlap"], task.baselines()["no_answer"]
    asked = Question(question="Who bakes?", context="It rains. Ana bakes.")
    found = overlap(asked)
    assert (found.answer, found.start, found.end) == ("Ana", 10, 13)
    assert (no_answer(asked).answer, no_answer(asked).start) == ("", None)
    assert overlap(Question(question="a", context="a")).answer == ""


def test_tokenizers_learn_from_each_context_once() -> None:
    task = made()
    texts = list(task.corpus("text", task.records(QuestionAnswering.examples())))
    assert len(texts) == len(set(texts)) == 8 + 4


@pytest.mark.parametrize("kind", [Bytes, Words])
def test_real_answers_come_back_from_their_targets(kind: Any) -> None:
    if not SHARED.is_file():
        pytest.skip(f"the data {SHARED.name} of SQuAD 2.0 is not here")
    rows = open_data(SHARED)
    task = QuestionAnswering(QuestionAnswering.Config(context=1024), {"text": kind(kind.Config())})
    records = task.records(rows)
    if kind is Words:
        task.tokens["text"].fit(task.corpus("text", records[:500]), RNG)
    for record in records[::45]:
        samples = task.learn(record, RNG)
        scores = []
        for sample in samples:
            length = len(sample.parts["source"])
            start, end = (np.eye(length)[int(sample.targets[edge][0])] * 20 for edge in ("start", "end"))
            scores.append(Prediction({"start": start, "end": end}))
        found = task.decode(record.input, samples, scores, options(longest=200))
        texts = [answer.text for answer in record.target.answers] or [""]
        # Of a word with marks inside, `Words` has several tokens; an answer may be no less than one.
        assert found.answer in texts or (kind is Words and any(text in found.answer for text in texts))
