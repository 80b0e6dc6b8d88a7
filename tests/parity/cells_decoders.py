"""Cells of language models.

The home library computes RMS norms and rotary angles in fp32, whatever type the model has. For the comparison in float64 its
casts are widened, so that its own code answers in float64 throughout.
"""

from __future__ import annotations

from typing import Any

import torch
import transformers
from cells_nlp import texts
from torch import Tensor
from torch.overrides import TorchFunctionMode

from anyformer.testing.parity import Arrays, Cell

END = 2


class Wide(TorchFunctionMode):
    """Where fp32 is asked for, it is float64."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is Tensor.float:
            return args[0].double()
        args = [torch.float64 if each is torch.float32 else each for each in args]
        return func(*args, **{key: torch.float64 if it is torch.float32 else it for key, it in (kwargs or {}).items()})


def logits(home: Any, record: Arrays) -> Tensor:
    """What the home model scores after each token."""
    ids = torch.from_numpy(record["target"])[None]
    if home.dtype != torch.float64:
        return home(ids).logits[0]
    with Wide():
        if hasattr(home.base_model, "rotary_emb"):
            home.base_model.rotary_emb = type(home.base_model.rotary_emb)(home.config)
        return home(ids).logits[0]


def written(home: Any, record: Arrays, beams: int) -> list[int]:
    """What the home model writes after a prompt, without the end id."""
    prompt = torch.from_numpy(record["target"])[None]
    found = home.generate(
        prompt, attention_mask=torch.ones_like(prompt), num_beams=beams, max_new_tokens=12, do_sample=False,
        pad_token_id=END,
    )  # fmt: skip
    new = found[0, prompt.shape[1] :].tolist()
    return new[: new.index(END)] if END in new else new


SMALL = {"vocab_size": 61, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "num_key_value_heads": 3,
         "intermediate_size": 40, "max_position_embeddings": 64, "bos_token_id": 1, "eos_token_id": END}  # fmt: skip
WIDE = SMALL | {"hidden_size": 40, "num_attention_heads": 4, "num_key_value_heads": 2, "rms_norm_eps": 0.3}
TIED = SMALL | {"num_attention_heads": 6, "num_key_value_heads": 1, "num_hidden_layers": 3, "tie_word_embeddings": True}
LINEAR = {"rope_parameters": {"rope_type": "linear", "factor": 3.0, "rope_theta": 500.0}}
BANDS = {
    "rope_parameters": {
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "rope_theta": 50.0,
        "original_max_position_embeddings": 16,
    }
}  # fmt: skip
OLDER = {"rope_theta": 300.0, "rope_scaling": {"type": "linear", "factor": 2.0}}
GPT2 = {"vocab_size": 61, "n_embd": 24, "n_layer": 2, "n_head": 3, "n_positions": 33,
        "bos_token_id": END, "eos_token_id": END}  # fmt: skip
WINDOW = {"use_sliding_window": True, "max_window_layers": 0, "sliding_window": 5}
SHAPES = {
    "GPT2LMHead": (
        GPT2,
        GPT2 | {"n_head": 1, "n_inner": 40, "activation_function": "relu", "tie_word_embeddings": False, "n_layer": 3},
        GPT2 | {"n_embd": 35, "n_head": 5, "layer_norm_epsilon": 0.3, "activation_function": "gelu"},
    ),
    "LlamaForCausalLM": (
        SMALL,
        WIDE | LINEAR | {"attention_bias": True, "mlp_bias": True, "hidden_act": "gelu"},
        TIED | BANDS | {"mlp_bias": True, "head_dim": 10},
        WIDE | OLDER | {"attention_bias": True, "hidden_act": "gelu_new"},
    ),
    "MistralForCausalLM": (
        SMALL | {"sliding_window": None}, WIDE | LINEAR | {"sliding_window": 5},
        TIED | {"sliding_window": 3, "head_dim": 10},
    ),
    "Qwen2ForCausalLM": (SMALL, WIDE | WINDOW, TIED | BANDS | {"hidden_act": "relu"}),
    "Qwen3ForCausalLM": (
        SMALL | {"head_dim": 8}, WIDE | WINDOW | {"head_dim": 6, "attention_bias": True}, TIED | BANDS | {"head_dim": 10},
    ),
}  # fmt: skip


def cell(name: str) -> Cell:
    """A cell of a language model, by its class."""
    family = name.removesuffix("LMHead").removesuffix("ForCausalLM")
    kind = getattr(transformers, "GPT2LMHeadModel" if family == "GPT2" else name)
    config = getattr(transformers, f"{family}Config")
    return Cell(
        family.lower(), "language model", lambda **shape: kind(config(**shape)), SHAPES[name],
        lambda home, rng: texts(home, rng, part="target"), logits, written=written,
    )  # fmt: skip


CELLS = [cell(name) for name in SHAPES]
