"""Marian (Junczys-Dowmunt et al. 2018), transformer-base of OPUS-MT: ids of sentences to ids, greedily or by four beams.

* 32 sentences of 30 tokens become 30 tokens each: no id ends a translation.
* Beams that score the same but for rounding are told apart by the last bits of fp32, not by what is likelier. In fp32,
  another translation than that of the home library counts as the same if both score the same in float64; each is printed.
* CTranslate2, where it is installed, is the home library's best: made for nothing else, from the same folder.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from anyformer.infer.options import Generation
from anyformer.plan.flops import forward_flops
from anyformer.task import Sample
from benchmarks.inference import ctranslate
from benchmarks.inference.case import Asked, Case, share_of_other_tokens
from benchmarks.inference.decoding import answered
from benchmarks.inference.limits import Phase
from benchmarks.inference.sides import Ours, lowered, read

SENTENCES, LENGTH = 32, 30
VOCABULARY, END = 58_101, 0
ROUNDING = 1e-6
"""Relative difference of two log probabilities that are level in fp32, where each is a sum of many."""
BEAMS = {"marian-greedy": 1, "marian-beam4": 4}


def build(asked: Asked) -> Case:
    """The case of a name."""
    home = marian()
    beams = BEAMS[asked.name]
    rng = np.random.default_rng(0)
    sentences = np.concatenate([rng.integers(2, VOCABULARY - 1, (SENTENCES, LENGTH - 1)), [[END]] * SENTENCES], 1)
    ids = torch.from_numpy(sentences)
    theirs = {"transformers": lambda: written(home, ids, beams)}
    low = lowered(home, asked.precision)
    if low is not None and low is not home:
        theirs[f"transformers, {asked.precision}"] = lambda: written(low, ids, beams)
    kind = {"fp32": "float32", "bf16": "bfloat16"}.get(asked.precision, asked.precision)
    translator = ctranslate.translator(home, kind)
    if translator is not None:
        theirs[f"CTranslate2, {kind}"] = lambda: ctranslate.written(translator, sentences, beams, LENGTH)
    ours = read(home, asked.precision)
    notes = {name: note for name, note in ours.task.notes().items() if name != "end"}
    samples = [
        Sample({"source": sentence, "target": np.array([VOCABULARY - 1])}, notes=notes) for sentence in sentences
    ]
    options = Generation(max_new_tokens=LENGTH, num_beams=beams)
    judged = beams > 1 and asked.precision == "fp32"
    difference = partial(share_apart, home=home, ids=ids) if judged else share_of_other_tokens
    return Case(
        "from ids of sentences to ids of translations", "sentences/s", SENTENCES,
        lambda: answered(ours, samples, options), theirs, phases(ours, beams), difference, tolerance=0,
    )  # fmt: skip


def marian() -> Any:
    """A new model of the home library, with nothing forced but that the filler is never written."""
    from transformers import MarianConfig, MarianMTModel

    home = MarianMTModel(MarianConfig(
        vocab_size=VOCABULARY, d_model=512, encoder_layers=6, decoder_layers=6, encoder_attention_heads=8,
        decoder_attention_heads=8, encoder_ffn_dim=2048, decoder_ffn_dim=2048, max_position_embeddings=512,
        activation_function="swish", scale_embedding=True, pad_token_id=VOCABULARY - 1, eos_token_id=END,
        decoder_start_token_id=VOCABULARY - 1, forced_eos_token_id=None, bos_token_id=None,
    )).eval()  # fmt: skip
    home.generation_config.update(eos_token_id=None, bad_words_ids=[[VOCABULARY - 1]])
    _vary(home)
    return home


def _vary(home: Any) -> None:
    """Let the sentence decide what is written: a new model writes one token after any text.

    Within a translation it still repeats one, as the tied table answers with what it was given.
    """
    ids = torch.randint(2, VOCABULARY - 1, (4, LENGTH))
    with torch.no_grad():
        for name, parameter in home.named_parameters():
            if parameter.ndim == 2 and not any(part in name for part in ("embed", "shared", "lm_head")):
                parameter.mul_(3)
        usual = home(input_ids=ids, decoder_input_ids=ids.flip(0)).logits.mean((0, 1))
        home.final_logits_bias.copy_(-usual[None])


def written(home: Any, ids: torch.Tensor, beams: int) -> list[list[int]]:
    """New ids of the home library."""
    with torch.no_grad():
        found = home.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=LENGTH, num_beams=beams, do_sample=False
        )
    new: list[list[int]] = found[:, 1:].tolist()
    return new


def share_apart(found: Sequence[list[int]], true: Sequence[list[int]], home: Any, ids: torch.Tensor) -> float:
    """`share_of_other_tokens`, but for translations that score as the true ones do: these are printed, and left out."""
    pairs = list(zip(found, true, strict=True))
    others = [index for index, (own, other) in enumerate(pairs) if own != other and len(own) == len(other)]
    if not others:
        return share_of_other_tokens(found, true)
    judge = copy.deepcopy(home).double()
    own_B, other_B = (scored(judge, ids[others], [pairs[index][side] for index in others]) for side in (0, 1))
    gains = dict(zip(others, ((own_B - other_B) / other_B.abs()).tolist(), strict=True))
    level = {index: gain for index, gain in gains.items() if abs(gain) <= ROUNDING}
    for index, gain in level.items():
        print(
            f"sentence {index}: another translation, whose log probability in float64 is relatively {gain:+.1e} greater"
        )
    return share_of_other_tokens([other if index in level else own for index, (own, other) in enumerate(pairs)], true)


def scored(home: Any, ids: torch.Tensor, answers: Sequence[list[int]]) -> torch.Tensor:
    """The log probability [B] of a translation of each sentence, in the numbers that the home library's model has."""
    new_BL = torch.tensor(answers)
    start_B1 = torch.full((len(new_BL), 1), VOCABULARY - 1)
    with torch.no_grad():
        logits_BLV = home(input_ids=ids, decoder_input_ids=torch.cat([start_B1, new_BL[:, :-1]], 1)).logits
    return logits_BLV.log_softmax(-1).gather(-1, new_BL[..., None]).squeeze(-1).sum(-1)


def phases(ours: Ours, beams: int) -> list[Phase]:
    """The encoder and what the decoder reads of it, once; then a token of each beam at a time."""
    head = ours.trunk.output.width * VOCABULARY
    both = forward_flops(ours.trunk, {"source": LENGTH, "target": 0})
    step = forward_flops(ours.trunk, {"source": 0, "target": 1}) + 2 * head
    return [Phase(SENTENCES * both), Phase(SENTENCES * beams * step, step / 2, LENGTH)]
