"""Decoding through the cache equals computing everything anew for each token, and it equals `generate` of transformers.

That library is given our model without a cache, one record at a time; we answer records of mixed length as one batch.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from anyformer.data.packs import collate
from anyformer.heads import LanguageModel
from anyformer.infer import generate as generating
from anyformer.infer.generate import follow, generate
from anyformer.infer.options import Generation, answers
from anyformer.infer.pipeline import Pipeline
from anyformer.nn import Component, Model, build, config
from anyformer.task import Sample

SIZE = 13
"""Ids of the vocabulary."""
NO_END = -1


@pytest.fixture(autouse=True)
def short_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slots of the cache that soon have to grow."""
    monkeypatch.setattr("anyformer.infer.generate.ROOM", 2)


def new_model(position: str, encoder: bool, unit_scale: Callable[..., None], seed: int = 0) -> Model:
    """An encoder-decoder or a decoder with weights that matter, in float64, where no two logits are nearly equal; without
    biases, which make a text repeat one id.
    """
    common: dict[str, Any] = {
        "width": 16, "depth": 2, "attention": config.Attention(heads=4, key_value_heads=2, bias=False, output_bias=False),
        "position": config.Position(kind=position, length=64), "norm": config.Norm(kind="rms"),
        "feed_forward": config.FeedForward(bias=False),
    }  # fmt: skip
    trunk = config.Trunk(
        encoder=config.Stack(**common) if encoder else None,
        decoder=config.Stack(causal=True, cross=encoder, **common),
    )
    tokenizer = SimpleNamespace(vocabulary_size=SIZE, patch_width=0)
    head = LanguageModel(16, SIZE, tied=False)
    task: Any = SimpleNamespace()
    component = Component(task, build.embedding_for(trunk, {"text": tokenizer}), head)
    model = Model(build.trunk(trunk), {"letters/any": component})
    unit_scale(model, seed)
    return model.double().eval()


def sample(rng: np.random.Generator, source: int, target: int, encoder: bool, **notes: Any) -> Sample:
    parts = {"source": rng.integers(0, SIZE, source)} if encoder else {}
    return Sample({**parts, "target": rng.integers(0, SIZE, target)}, notes={"end": NO_END, **notes})


def naive(model: Model, given: Sample, limit: int) -> list[int]:
    """The whole model over the whole sequence, alone, for every token."""
    written: list[int] = []
    while len(written) < limit:
        target = np.append(given.parts["target"], written).astype(np.int64)
        parts, _ = collate([Sample({**given.parts, "target": target})])
        with torch.no_grad():
            streams = model.encode(parts, "letters/any")
            token = int(model["letters/any"].head(streams)[-1].argmax())
        if token == given.notes["end"]:
            break
        written.append(token)
    return written


def written(model: Model, samples: list[Sample], most: int) -> list[list[int]]:
    found = dict(generate(model, "letters/any", samples, Generation(max_new_tokens=most), [0] * len(samples)))
    assert sorted(found) == list(range(len(samples)))
    assert all(prediction.values["ids"].dtype == np.int64 for prediction in found.values())
    return [found[index].values["ids"].tolist() for index in range(len(samples))]


@pytest.mark.parametrize("encoder", [True, False])
@pytest.mark.parametrize("position", ["rotary", "learned", "sinusoidal", "none"])
def test_equals_full_recomputation(unit_scale: Callable[..., None], position: str, encoder: bool) -> None:
    """Sequences of different lengths, limits and ends, which leave the batch at different times."""
    model = new_model(position, encoder, unit_scale)
    rng = np.random.default_rng(1)
    samples = [
        sample(rng, source, target, encoder, max_new_tokens=limit)
        for source, target, limit in ((3, 1, 12), (9, 2, 5), (1, 4, 12), (6, 1, 1), (4, 3, 99), (2, 1, 9))
    ]
    free = [naive(model, each, min(each.notes["max_new_tokens"], 14)) for each in samples]
    assert len({token for ids in free for token in ids}) > 4, "the model says always the same"
    assert written(model, samples, 14) == free
    for each, ids in zip(samples, free, strict=True):  # now each ends somewhere in the middle of what it wrote
        each.notes["end"] = ids[len(ids) // 2]
    ended = [naive(model, each, min(each.notes["max_new_tokens"], 14)) for each in samples]
    assert [len(ids) for ids in ended] != [len(ids) for ids in free]
    assert written(model, samples, 14) == ended


def test_immediate_end_and_no_room(unit_scale: Callable[..., None]) -> None:
    model = new_model("rotary", True, unit_scale)
    rng = np.random.default_rng(2)
    samples = [sample(rng, 4, 1, True) for _ in range(4)]
    free = written(model, samples, 6)
    samples[0].notes["end"] = free[0][0]
    samples[2].notes["max_new_tokens"] = 0
    assert written(model, samples, 6) == [[], free[1], [], free[3]]
    assert written(model, [samples[2]], 6) == [[]]
    assert written(model, [samples[0]], 6) == [[]]


def test_limits(unit_scale: Callable[..., None]) -> None:
    model = new_model("rotary", True, unit_scale)
    rng = np.random.default_rng(3)
    samples = [sample(rng, 4, 1, True), sample(rng, 4, 1, True, max_new_tokens=3)]
    assert [len(ids) for ids in written(model, samples, 7)] == [7, 3]
    assert [len(ids) for ids in written(model, samples, 2)] == [2, 2]


@pytest.fixture(scope="module")
def generate_alone() -> Callable[..., list[tuple[list[int], float]]]:
    """A function for what `generate` of transformers writes: each answer without prompt and end, and its score."""
    transformers = pytest.importorskip("transformers")
    from transformers.modeling_outputs import BaseModelOutput, Seq2SeqLMOutput

    class Encoder(torch.nn.Module):
        main_input_name = "input_ids"

        def forward(self, input_ids: torch.Tensor, **_: Any) -> Any:
            return BaseModelOutput(last_hidden_state=input_ids[..., None].double())

    class Peer(transformers.PreTrainedModel, transformers.GenerationMixin):
        """Our model, computed anew for each token; what its encoder gives is the source itself."""

        config_class = transformers.PreTrainedConfig
        main_input_name = "input_ids"

        def __init__(self, settings: Any, ours: Model) -> None:
            super().__init__(settings)
            self.ours, self.encoder = ours, Encoder()

        def get_encoder(self, *_: Any, **__: Any) -> Any:
            return self.encoder

        def forward(
            self, input_ids: Any = None, encoder_outputs: Any = None, decoder_input_ids: Any = None,
            attention_mask: Any = None, **_: Any,
        ) -> Any:  # fmt: skip
            targets = (input_ids if decoder_input_ids is None else decoder_input_ids).numpy()
            samples = [Sample({"target": target}) for target in targets]
            if encoder_outputs is not None:
                for each, source in zip(samples, encoder_outputs[0].long().numpy(), strict=True):
                    each.parts["source"] = source[:, 0]
            streams = self.ours.encode(collate(samples)[0], "letters/any")
            logits = self.ours["letters/any"].head(streams)
            return Seq2SeqLMOutput(logits=logits.view(*targets.shape, -1), encoder_last_hidden_state=None)

    def alone(model: Model, given: Sample, **options: Any) -> list[tuple[list[int], float]]:
        source, target = given.parts.get("source"), torch.from_numpy(given.parts["target"])[None]
        settings = transformers.PreTrainedConfig(
            vocab_size=SIZE, is_encoder_decoder=source is not None, decoder_start_token_id=int(target[0, 0])
        )
        peer = Peer(settings, model).eval()
        inputs = target if source is None else torch.from_numpy(source)[None]
        named = {} if source is None else {"decoder_input_ids": target}
        ends = given.notes["end"]
        found = peer.generate(
            inputs, attention_mask=torch.ones_like(inputs), **named, **options, eos_token_id=ends, pad_token_id=0,
            do_sample=False, use_cache=False, return_dict_in_generate=True, output_scores=True,
        )  # fmt: skip
        texts = [row[target.shape[1] :].tolist() for row in found.sequences]
        scores = getattr(found, "sequences_scores", torch.zeros(1)).tolist()
        cut = [next((at for at, token in enumerate(ids) if token in ends), len(ids)) for ids in texts]
        return [(ids[:at], score) for ids, at, score in zip(texts, cut, scores, strict=True)]

    return alone


GREEDY = [
    {}, {"repetition_penalty": 1.7}, {"no_repeat_ngram_size": 2}, {"min_new_tokens": 3},
    {"repetition_penalty": 0.6, "no_repeat_ngram_size": 3, "min_new_tokens": 3},
]  # fmt: skip
BEAMS = [
    *({"early_stopping": stop, "length_penalty": power} for stop in (False, True, "never") for power in (-0.5, 1.0, 2.5)),
    *GREEDY[1:], {"num_beams": 2, "num_answers": 1}, {"num_beams": 5, "num_answers": 3, "early_stopping": "never"},
]  # fmt: skip
CASES = [*GREEDY, *({"num_beams": 4, "num_answers": 4, **each} for each in BEAMS)]


@pytest.mark.parametrize("encoder", [True, False], ids=["both", "decoder"])
@pytest.mark.parametrize(
    "case", range(len(CASES)), ids=lambda case: ",".join(f"{k}={v}" for k, v in CASES[case].items())
)
def test_equals_transformers(
    unit_scale: Callable[..., None], generate_alone: Callable[..., Any], case: int, encoder: bool
) -> None:
    """Texts of different lengths with one or two ends of their own, which the model would write, except for one text."""
    model = new_model(("rotary", "relative", "learned")[case % 3], encoder, unit_scale, case)
    model["letters/any"].head.output.weight.data *= 2  # surer of itself, so that an end does not suit everywhere
    rng = np.random.default_rng(case)
    samples = [sample(rng, *rng.integers(1, 6, 2), encoder) for _ in range(4)]
    for index, (each, free) in enumerate(zip(samples, written(model, samples, 6), strict=True)):
        met = list(dict.fromkeys(free))[::-1] if index else [token for token in range(SIZE) if token not in free]
        each.notes["end"] = [met[index // 2 % len(met)], (free[0] + index) % SIZE][: 1 + index % 2]
    chosen = Generation(max_new_tokens=8, **CASES[case])
    found = dict(generate(model, "letters/any", samples, chosen, [0] * len(samples)))
    theirs = {name: value for name, value in CASES[case].items() if name != "num_answers"}
    theirs["num_return_sequences"] = chosen.num_answers
    texts = set()
    for index, each in enumerate(samples):
        true = generate_alone(model, each, max_new_tokens=8, **theirs)
        assert [ids.tolist() for ids in answers(found[index])] == [ids for ids, _ in true]
        texts.update(tuple(ids) for ids, _ in true)
        if chosen.num_beams > 1:
            np.testing.assert_allclose(found[index].values["score"], [score for _, score in true], rtol=1e-5)
    assert len({len(ids) for ids in texts}) > 1 or len(texts) > 8, "nothing to be told apart"


@pytest.mark.parametrize("num_beams", [1, 3])
def test_forced_and_suppressed(
    unit_scale: Callable[..., None], generate_alone: Callable[..., Any], num_beams: int
) -> None:
    """The first id, the last one within the limit, and ids that are never chosen, as checkpoints of BART and Marian ask."""
    model = new_model("rotary", True, unit_scale, 5)
    rng = np.random.default_rng(5)
    free = [sample(rng, length, 1, True, end=[4]) for length in (2, 5, 3)]
    unwanted = sorted({token for ids in written(model, free, 6) for token in ids} - {4})[:2]
    bound = [Sample(each.parts, notes={"end": 4, "forced": {0: 7, -1: 4}, "suppressed": unwanted}) for each in free]
    found = dict(generate(model, "letters/any", bound, Generation(max_new_tokens=6, num_beams=num_beams), [0] * 3))
    for index, each in enumerate(free):
        ((true, _),) = generate_alone(
            model, each, max_new_tokens=6, num_beams=num_beams, forced_bos_token_id=7, forced_eos_token_id=4,
            suppress_tokens=unwanted,
        )  # fmt: skip
        assert found[index].values["ids"].tolist() == true
        assert true[0] == 7
        assert len(true) < 6
        assert not set(true) & set(unwanted)


def test_where_every_id_is_forbidden(unit_scale: Callable[..., None]) -> None:
    """No id may come twice, and none is left: the answer is what is written so far, and not an id at random."""
    model = new_model("rotary", False, unit_scale)
    given = [sample(np.random.default_rng(0), 0, 1, False)]
    for way in ({}, {"num_beams": 2}, {"sample": True}):
        options = Generation(max_new_tokens=20, no_repeat_ngram_size=1, **way)
        ((_, found),) = generate(model, "letters/any", given, options, [0])
        assert sorted([*given[0].parts["target"], *found.values["ids"]]) == list(range(SIZE))
        given[0].notes["suppressed"] = range(SIZE)
        ((_, found),) = generate(model, "letters/any", given, options, [0])
        assert found.values["ids"].tolist() == []
        del given[0].notes["suppressed"]


@pytest.mark.parametrize("encoder", [True, False], ids=["both", "decoder"])
def test_a_sampled_answer_is_its_own(unit_scale: Callable[..., None], encoder: bool) -> None:
    """Each of several answers depends on the sample and its seed alone: not on the batch, nor on how many are asked for."""
    model = new_model("rotary", encoder, unit_scale)
    rng = np.random.default_rng(6)
    samples = [sample(rng, length, length, encoder, end=[1, 2]) for length in (3, 1, 5, 3)]
    samples.append(samples[0])

    def drawn(chosen: list[int], seeds: list[int], num: int) -> list[list[list[int]]]:
        options = Generation(sample=True, max_new_tokens=40, num_answers=num, top_p=0.95)
        found = dict(generate(model, "letters/any", [samples[index] for index in chosen], options, seeds))
        return [[ids.tolist() for ids in answers(found[index])] for index in range(len(chosen))]

    together = drawn([0, 1, 2, 3, 4], [7, 7, 8, 9, 10], 3)
    assert together == [drawn([index], [seed], 3)[0] for index, seed in enumerate((7, 7, 8, 9, 10))]
    assert [found[:1] for found in together] == drawn([0, 1, 2, 3, 4], [7, 7, 8, 9, 10], 1)
    assert len({tuple(ids) for found in together for ids in found}) == 15
    assert not {token for found in together for ids in found for token in ids} & {1, 2}
    assert len({len(ids) for found in together for ids in found}) > 3


def test_notes_are_optional(unit_scale: Callable[..., None]) -> None:
    """Without an end an answer is as long as it may be; where nothing may be written there are as many empty answers."""
    model = new_model("rotary", False, unit_scale)
    prompt = {"target": np.array([3, 4])}
    options = Generation(max_new_tokens=5, num_beams=3, num_answers=2)
    found = dict(
        generate(model, "letters/any", [Sample(prompt), Sample(prompt, notes={"max_new_tokens": 0})], options, [0, 0])
    )
    assert found[0].values["lengths"].tolist() == [5, 5]
    assert found[1].values["lengths"].tolist() == [0, 0]
    assert [ids.tolist() for ids in answers(found[1])] == [[], []]
    assert found[0].values["ids"].tolist() == answers(found[0])[0].tolist()


def test_through_a_task(new_pipeline: Callable[..., Pipeline], letters: Any) -> None:
    asked = new_pipeline("reverse")
    words = letters.words(10, seed=4)
    together = asked(words)
    assert [answer.backwards for answer in together] == [asked(text=row["text"]).backwards for row in words]
    assert len({answer.backwards for answer in together}) > 3
    short = asked(words, max_new_tokens=2)
    assert all(answer.backwards[:2].startswith(less.backwards) for answer, less in zip(together, short, strict=True))
    with pytest.raises(ValueError, match="'max_new_tokens': Input should be greater than or equal to 1"):
        asked(words, max_new_tokens=0)


@pytest.mark.parametrize("encoder", [True, False], ids=["both", "decoder"])
@pytest.mark.parametrize(
    "way",
    [{}, {"num_beams": 3, "num_answers": 2}, {"sample": True, "num_answers": 2}],
    ids=["greedy", "beams", "sampling"],
)
def test_those_that_wait_join(unit_scale: Callable[..., None], way: dict[str, Any], encoder: bool) -> None:
    """Eleven samples, two at a time or three: the same answers as all at once, and none starts before there is a place."""
    model = new_model("rotary", encoder, unit_scale, 2)
    rng = np.random.default_rng(9)
    samples = [
        sample(rng, *rng.integers(1, 7, 2), encoder, end=[1], max_new_tokens=limit)
        for limit in (9, 2, 5, 1, 12, 3, 3, 7, 1, 4, 6)
    ]
    widths: list[int] = []
    model["letters/any"].head.register_forward_hook(lambda *args: widths.append(len(args[2])))

    def answered(at_once: int) -> list[list[list[int]]]:
        widths.clear()
        options = Generation(max_new_tokens=20, at_once=at_once, **way)
        found = dict(generate(model, "letters/any", samples, options, list(range(11))))
        return [[ids.tolist() for ids in answers(found[index])] for index in range(11)]

    together = answered(11)
    steps = len(widths)
    for at_once in (1, 2, 3):
        assert answered(at_once) == together
        assert max(widths) <= at_once * max(way.get("num_beams", 1), way.get("num_answers", 1))
        assert len(widths) > steps
    assert len({str(each) for each in together}) > 6


def test_memory_bounds_the_places(unit_scale: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    model = new_model("rotary", True, unit_scale)
    samples = [sample(np.random.default_rng(0), 3, 1, True) for _ in range(4)]
    for spare, places in ((0, 1), (2 * 4 * 2 * 4 * 16 * 7, 2), (10**9, 4)):  # bytes: 2 x 4 layers of 16 numbers, 7 rows
        monkeypatch.setattr(generating, "spare_memory", lambda spare=spare: spare)
        requests = [generating.Request.of(each, Generation(max_new_tokens=6)) for each in samples]
        found = generating._Decoding(model, "letters/any", samples, requests, Generation(max_new_tokens=6))
        assert found.num_places == places


def test_what_all_prompts_begin_with_is_read_once(
    unit_scale: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = new_model("rotary", False, unit_scale, 4)
    rng = np.random.default_rng(4)
    common = rng.integers(0, SIZE, 9)
    samples = [Sample({"target": np.append(common, rng.integers(0, SIZE, more))}) for more in (1, 4, 0, 2)]
    alone = [written(model, [each], 8)[0] for each in samples]
    sizes: list[int] = []
    model["letters/any"].embedding.register_forward_pre_hook(
        lambda _, given: sizes.append(given[0]["target"].pack.num_tokens)
    )
    assert written(model, samples, 8) == alone
    assert sizes[0] == 4 * 9 + 7
    sizes.clear()
    monkeypatch.setattr(generating, "SHARED", 8)
    assert written(model, samples, 8) == alone
    assert sizes[:3] == [8, 4 + 7, 4], "of the shortest prompt one token is left"


def test_log_probabilities(unit_scale: Callable[..., None]) -> None:
    """Of the model itself, whatever rules and filters made of them."""
    model = new_model("rotary", False, unit_scale, 1)
    given = sample(np.random.default_rng(1), 0, 3, False)
    for way in ({}, {"repetition_penalty": 1.5}, {"sample": True, "top_k": 3, "num_answers": 2}):
        options = Generation(max_new_tokens=6, log_probabilities=True, **way)
        ((_, found),) = generate(model, "letters/any", [given], options, [3])
        logged = found.values["log_probabilities"].reshape(-1, 6)
        assert len(logged) == options.num_answers
        for ids, ours in zip(answers(found), logged, strict=True):
            parts, _ = collate([Sample({"target": np.append(given.parts["target"], ids)})])
            with torch.no_grad():
                rows = model["letters/any"].head(model.encode(parts, "letters/any")).log_softmax(-1)
            np.testing.assert_allclose(ours, rows[2:-1].gather(1, torch.from_numpy(ids)[:, None])[:, 0], rtol=1e-9)


def test_an_answer_is_over_when_its_sample_says_so(unit_scale: Callable[..., None]) -> None:
    model = new_model("rotary", True, unit_scale, 1)
    rng = np.random.default_rng(1)
    samples = [sample(rng, 4, 2, True) for _ in range(3)]
    free = written(model, samples, 9)
    samples[1].notes["stopped"] = lambda ids: ids.tolist() == free[1][:4]
    assert written(model, samples, 9) == [free[0], free[1][:4], free[2]]


def test_pieces_grow_into_the_answer(unit_scale: Callable[..., None]) -> None:
    model = new_model("rotary", True, unit_scale, 1)
    rng = np.random.default_rng(1)
    samples = [sample(rng, 4, 2, True, max_new_tokens=limit) for limit in (5, 2)]
    free = written(model, samples, 9)
    seen: dict[int, list[Any]] = {0: [], 1: []}
    for index, found in follow(model, "letters/any", samples, Generation(max_new_tokens=9), [0, 0]):
        seen[index].append((found.values["ids"].tolist(), found.final))
    for index, ids in enumerate(free):
        assert seen[index] == [(ids[: n + 1], n + 1 == len(ids)) for n in range(len(ids))]
    with pytest.raises(
        ValueError, match="num_beams=3 cannot be shown as it writes, for the best beam may change; set num"
    ):
        follow(model, "letters/any", samples, Generation(num_beams=3), [0, 0])
