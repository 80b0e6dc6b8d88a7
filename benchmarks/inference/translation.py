"""Marian (Junczys-Dowmunt et al. 2018), transformer-base of OPUS-MT: ids of sentences to ids, greedily or by four beams.

* 32 sentences of 30 tokens become 30 tokens each: no id ends a translation.
* CTranslate2, where it is installed, is the home library's best: made for nothing else, from the same folder.
"""

from __future__ import annotations

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
    return Case(
        "from ids of sentences to ids of translations", "sentences/s", SENTENCES,
        lambda: answered(ours, samples, options), theirs, phases(ours, beams), share_of_other_tokens, tolerance=0,
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


def phases(ours: Ours, beams: int) -> list[Phase]:
    """The encoder and what the decoder reads of it, once; then a token of each beam at a time."""
    head = ours.trunk.output.width * VOCABULARY
    both = forward_flops(ours.trunk, {"source": LENGTH, "target": 0})
    step = forward_flops(ours.trunk, {"source": 0, "target": 1}) + 2 * head
    return [Phase(SENTENCES * both), Phase(SENTENCES * beams * step, step / 2, LENGTH)]
