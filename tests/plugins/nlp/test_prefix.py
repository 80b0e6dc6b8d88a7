"""How a translation begins: what follows a given beginning is what transformers writes after the same ids."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch

from anyformer import api
from anyformer.infer.pipeline import Pipeline
from anyformer.task import Prediction, Sample
from anyformer.testing.parity import unit_scale
from anyformer_nlp.tokenizers import END, START, Bytes
from anyformer_nlp.translation import Source, Translation
from anyformer_nlp.words import Words

transformers = pytest.importorskip("transformers")
TASK = "nlp/translation"
SMALL = {
    "d_model": 24, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 3, "decoder_attention_heads": 4,
    "encoder_ffn_dim": 40, "decoder_ffn_dim": 30, "max_position_embeddings": 48, "bos_token_id": None,
}  # fmt: skip
WAYS: list[dict[str, Any]] = [
    {},
    {"num_beams": 4, "length_penalty": 2.0},
    {"repetition_penalty": 1.5, "no_repeat_ngram_size": 2, "min_new_tokens": 5},
]
Made = tuple[Any, Any, Pipeline]


def t5(config: dict[str, Any]) -> Any:
    made = transformers.T5Config(**config, d_model=24, num_layers=2, num_heads=3, d_kv=10, d_ff=40, pad_token_id=0)
    return transformers.T5ForConditionalGeneration(made)


def marian(config: dict[str, Any]) -> Any:
    pad = config["decoder_start_token_id"]
    made = transformers.MarianConfig(**SMALL, **config, pad_token_id=pad, forced_eos_token_id=0, scale_embedding=True)
    home = transformers.MarianMTModel(made)
    home.generation_config.update(bad_words_ids=[[pad]])
    return home


def bart(config: dict[str, Any]) -> Any:
    config = config | {"model_type": "bart", "eos_token_id": 2, "decoder_start_token_id": 2}
    home = transformers.BartForConditionalGeneration(transformers.BartConfig(**SMALL | config, pad_token_id=1))
    home.generation_config.update(forced_bos_token_id=0, forced_eos_token_id=2)
    return home


@pytest.fixture(
    scope="module", params=[("t5", t5), ("marian", marian), ("roberta", bart)], ids=["t5", "marian", "bart"]
)
def made(request: pytest.FixtureRequest, checkpoint: Any, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A checkpoint of a kind: its ids of a text, its model, and ours."""
    tokens, new = request.param
    files, config = checkpoint(tokens)
    folder = tmp_path_factory.mktemp(new.__name__)
    for path in files.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    config = {key: value for key, value in config.items() if key != "model_type"}
    if new is marian:  # the space that the target's pieces begin with takes the id of the filler, which comes last
        vocabulary = json.loads((folder / "vocab.json").read_text())
        vocabulary |= {"\N{LOWER ONE EIGHTH BLOCK}": vocabulary["<pad>"], "<pad>": len(vocabulary)}
        (folder / "vocab.json").write_text(json.dumps(vocabulary))
        config |= {"vocab_size": len(vocabulary), "decoder_start_token_id": vocabulary["<pad>"]}
    home = new(config)
    settle(home)
    home.save_pretrained(folder)
    return transformers.AutoTokenizer.from_pretrained(folder), home, api.pipeline(TASK, model=folder)


def settle(home: Any) -> None:
    """Weights at unit scale, of a seed whose answers vary, and no id that is likely whatever was read."""
    tables = {module: module.weight.clone() for module in home.modules() if "Sinusoidal" in type(module).__name__}
    unit_scale(home, seed=3)
    for module, weight in tables.items():  # which are no weights, though the home library holds them as such
        module.weight.data.copy_(weight)
    if hasattr(home, "final_logits_bias"):
        with torch.inference_mode():
            home.final_logits_bias.zero_()
            some = torch.arange(40)[None]
            usual = home(input_ids=some[:, :20], decoder_input_ids=some).logits.mean((0, 1))
        home.final_logits_bias.copy_(-usual[None])


def begun(made: Made, prefix: str) -> list[int]:
    """What a decoder of the home library is given to begin with."""
    tokenizer, home, _ = made
    generation = home.generation_config
    first = [] if generation.forced_bos_token_id is None else [generation.forced_bos_token_id]
    ids: list[int] = tokenizer(text_target=prefix, add_special_tokens=False)["input_ids"]
    return [generation.decoder_start_token_id, *first, *ids]


def theirs(made: Made, text: str, prefix: str, **way: Any) -> list[int]:
    """What the home library writes after a beginning, without the end."""
    tokenizer, home, _ = made
    given, start = tokenizer(text, return_tensors="pt"), begun(made, prefix)
    with torch.inference_mode():
        # The home library makes T5's cache for as many blocks as the encoder has.
        found = home.generate(
            input_ids=given["input_ids"], attention_mask=given["attention_mask"], decoder_input_ids=torch.tensor([start]),
            max_new_tokens=12, do_sample=False, use_cache=False, **way,
        )  # fmt: skip
    new, end = found[0, len(start) :].tolist(), home.generation_config.eos_token_id
    return new[: new.index(end)] if end in new else new


def ours(made: Made, prefix: str, monkeypatch: pytest.MonkeyPatch, **given: Any) -> tuple[Any, list[int]]:
    """Our answer, and the ids that it was decoded from."""
    tokenizer = made[2].task.tokens["text"]
    seen: list[list[int]] = []
    decode = tokenizer.decode

    def watched(ids: Any, final: bool = True) -> Any:
        seen.append(ids.tolist())
        return decode(ids, final)

    with monkeypatch.context() as patch:
        patch.setattr(tokenizer, "decode", watched)
        answer = made[2](prefix=prefix, **given)
    return answer, seen[-1]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: "-".join(way) or "greedy")
@pytest.mark.parametrize("prefix", ["the", "a small hou", "on the mat, don't"])
def test_ids_are_those_of_transformers(
    made: Made, prefix: str, way: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    start = begun(made, prefix)[1:]
    for text in ("the cat sat on the mat", "it", "a small café house, walking"):
        true = theirs(made, text, prefix, **way)
        answer, ids = ours(made, prefix, monkeypatch, text=text, max_new_tokens=12, **way)
        assert ids == start + true
        assert true
        assert answer.text.startswith(prefix)
        own = made[0].decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        assert answer.text == own


def test_a_beginning_is_read_and_not_only_set_before_the_answer(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    written = []
    for prefix in ("the", "the small", "on the mat"):
        _, ids = ours(made, prefix, monkeypatch, text="the cat", max_new_tokens=12)
        written.append(tuple(ids[len(begun(made, prefix)) - 1 :]))
    assert len(set(written)) == 3
    asked = made[2]
    assert asked(text="the cat", prefix="") == asked(text="the cat", prefix=None) == asked(text="the cat")


def test_a_beginning_in_a_batch_in_samples_and_in_pieces(made: Made) -> None:
    asked = made[2]
    texts = [{"text": text} for text in ("the cat sat", "a", "", "on a small mat, it")]
    drawn = {"prefix": "a small hou", "sample": True, "seed": 4, "max_new_tokens": 9}
    together = asked(texts, **drawn)
    assert together == [asked(text, **drawn) for text in texts]
    assert [answer.text.startswith("a small hou") for answer in together] == [True, True, False, True]
    assert together[2].text == ""
    assert asked(texts[0], **drawn | {"seed": 5}) != together[0]
    pieces = list(asked.tokens(texts[0], **drawn))
    assert "".join(piece.added for piece in pieces) == together[0].text
    assert pieces[0].added.startswith("a small hou")


def test_log_probabilities_are_of_what_is_written(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer, home, _ = made
    start = begun(made, "a small")
    answer, ids = ours(
        made, "a small", monkeypatch, text="the cat", max_new_tokens=6, min_new_tokens=4, log_probabilities=True
    )
    given = torch.tensor([[start[0], *ids]])
    with torch.inference_mode():
        scores = home(input_ids=tokenizer("the cat", return_tensors="pt")["input_ids"], decoder_input_ids=given).logits
    true = scores[0, :-1].log_softmax(-1).gather(1, given[0, 1:, None])[len(start) - 1 :, 0]
    assert len(true) >= 4
    assert np.allclose(answer.log_probabilities, true, atol=1e-4)


def test_the_answer_fills_the_positions_of_the_model(made: Made) -> None:
    asked = made[2]
    start, context = begun(made, "the mat"), asked.task.config.context
    if context != SMALL["max_position_embeddings"]:
        pytest.skip("T5 has relative positions, without a bound")
    found = asked(text="the cat sat", prefix="the mat", min_new_tokens=context, log_probabilities=True)
    # The last that is written is read by nothing, and it is the end, which was forced.
    assert len(found.log_probabilities) == context - len(start)


# -- the sample


def bound(tokenizer: Any = None, **config: Any) -> Translation:
    return Translation(Translation.Config(**config), {"text": tokenizer or Bytes(Bytes.Config())})


def encoded(task: Translation, prefix: str | None, text: str = "ab") -> Sample:
    (sample,) = task.encode(Source(text=text), Translation.Options(prefix=prefix))
    return sample


def ids(text: str) -> list[int]:
    return Bytes(Bytes.Config()).encode(text)["ids"].tolist()


def test_the_beginning_is_part_of_the_target() -> None:
    sample = encoded(bound(), "né")
    assert sample.parts["target"].tolist() == [START, *ids("né")]
    assert sample.notes["max_new_tokens"] == 58  # as without
    forced = encoded(bound(forced_first=7, forced_last=END), "né")
    assert forced.parts["target"].tolist() == [START, 7, *ids("né")]
    assert forced.notes["forced"] == {-1: END}
    assert encoded(bound(forced_first=7), "").notes["forced"] == {0: 7}


def test_a_character_whose_bytes_the_two_share_is_whole() -> None:
    """As where a prefix ends within what the tokenizer makes one unit of."""
    task = bound()
    sample = encoded(task, "th")
    sample.notes["begun"] = np.array(ids("thé")[:-1])
    answer = task.decode(Source(text="a"), [sample], [Prediction({"ids": np.array(ids("thé")[-1:])})], task.Options())
    assert answer.text == "thé"


@pytest.mark.parametrize(("config", "room"), [({}, 19), ({"forced_first": 7}, 18)], ids=str)
def test_a_beginning_leaves_room_for_one_token_or_is_refused(config: dict[str, int], room: int) -> None:
    task = bound(context=20, **config)
    assert encoded(task, "x" * room).notes["max_new_tokens"] == 1
    with pytest.raises(
        ValueError, match=f"^'prefix' has {room + 1} tokens; this model has room for {room}: give a sho"
    ):
        encoded(task, "x" * (room + 1))


def test_a_beginning_that_the_vocabulary_cannot_write_is_refused(made: Made) -> None:
    words = Words(Words.Config())
    words.fit(["the cat", "the cat"], np.random.default_rng(0))
    said = r"^'prefix' is 'the dog', and this model has tokens for 'the �' only: leave out what it cannot write$"
    with pytest.raises(ValueError, match=said):
        encoded(bound(words), "the dog")
    assert encoded(bound(words), "The cat").parts["target"].tolist() == [START, *words.encode("the cat")["ids"]]
    tokenizer = made[2].task.tokens["text"]
    if tokenizer.unknown_id in tokenizer.encode_target("the 籠")["ids"]:  # of bytes, none is unknown
        with pytest.raises(
            ValueError, match=r"^input 1: 'prefix' is 'the 籠', and this model has tokens for 'the ?' only"
        ):
            made[2](text="a", prefix="the 籠")
