"""CTranslate2 beside us: the same weights through its own converter, without a tokenizer. None where it is not installed."""

from __future__ import annotations

import tempfile
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from anyformer.task import Array

UNKNOWN = 1


def translator(home: Any, kind: str) -> Any:
    """A translator in a type of numbers, on as many threads as PyTorch has; None where the package is not there.

    None with a word, too, where it does not compute in this type on this machine.
    """
    if find_spec("ctranslate2") is None:
        return None
    import ctranslate2

    if kind not in ctranslate2.get_supported_compute_types("cpu"):
        print(f"CTranslate2 is left out: it does not compute in {kind} on this machine")
        return None
    from ctranslate2.converters import TransformersConverter

    names = [str(id) for id in range(home.config.vocab_size - 1)] + ["<pad>"]
    words = SimpleNamespace(
        get_vocab=lambda: {name: id for id, name in enumerate(names)}, eos_token=names[home.config.eos_token_id],
        unk_token=names[UNKNOWN],
    )  # fmt: skip

    class Converter(TransformersConverter):
        """Words are the ids themselves."""

        def load_tokenizer(self, tokenizer_class: Any, model_name_or_path: str, **kwargs: Any) -> Any:
            return words

    with tempfile.TemporaryDirectory() as folder:
        home.save_pretrained(Path(folder) / "home")
        Converter(str(Path(folder) / "home")).convert(str(Path(folder) / "made"))
        return ctranslate2.Translator(
            str(Path(folder) / "made"), compute_type=kind, inter_threads=1, intra_threads=torch.get_num_threads()
        )


def written(translator: Any, sentences: Array, beams: int, length: int) -> list[list[int]]:
    """New ids, all of `length`."""
    words = [[str(id) for id in sentence] for sentence in np.asarray(sentences).tolist()]
    found = translator.translate_batch(
        words, beam_size=beams, min_decoding_length=length, max_decoding_length=length, max_batch_size=len(words)
    )
    return [[int(word) for word in each.hypotheses[0]] for each in found]
