"""Options that generating tasks share, and how to read all answers of one prediction. This module imports no torch.

* A setting that has no effect beside the others is an error, not a silence: `temperature` without `sample`, say.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from pydantic import ConfigDict, Field, ValidationInfo, field_validator

from anyformer.task import Array, Frozen, Prediction


class Generation(Frozen):
    """How a decoder writes an answer: the likeliest token each time, by beams, or by sampling.

    Without sampling, the tokens are those of `generate` in the library transformers, under the same names of settings.
    """

    model_config = ConfigDict(validate_default=True)

    max_new_tokens: int = Field(default=128, ge=1, le=100_000)
    """Tokens at most; a sample may set a lower bound of its own in its notes."""
    min_new_tokens: int = Field(default=0, ge=0)
    """Tokens before the end may be chosen."""
    num_beams: int = Field(default=1, ge=1, le=1024)
    """Beginnings that are followed at the same time; 1: only the likeliest."""
    length_penalty: float = Field(default=1.0, allow_inf_nan=False)
    """Of beams: an answer's log probability is divided by its length to this power, so more than 0 favours long ones."""
    early_stopping: bool | Literal["never"] = False
    """Of beams: stop once `num_beams` answers have ended (true); once no beam, as long as it is now, would score better
    (false); or once none could, however long it became ("never")."""
    sample: bool = False
    """Draw each token by its probability instead of taking the likeliest."""
    temperature: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    """Of sampling: divides the logits; below 1 favours likely tokens."""
    top_k: int = Field(default=0, ge=0)
    """Of sampling: only the `top_k` likeliest tokens (Fan et al. 2018); 0: all."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Of sampling: only the likeliest tokens that together reach this probability (Holtzman et al. 2020)."""
    min_p: float = Field(default=0.0, ge=0, le=1)
    """Of sampling: only tokens at least this fraction as likely as the likeliest (Nguyen et al. 2024)."""
    seed: int = Field(default=0, ge=0)
    """Of sampling: the same seed gives the same answer."""
    num_answers: int = Field(default=1, ge=1, le=1024)
    """Answers to give: the best of the beams, or that many samples."""
    repetition_penalty: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    """Makes tokens that were there before, prompt included, less likely where above 1 (Keskar et al. 2019)."""
    no_repeat_ngram_size: int = Field(default=0, ge=0)
    """No so many tokens in a row come twice, prompt included (Paulus et al. 2018); 0: no such rule."""

    log_probabilities: bool = False
    """Give the log probability of each token that is written, as the model has it before any rule or filter."""
    at_once: int = Field(default=0, ge=0)
    """Answers to write at the same time; the others wait, and join as these end. 0: as many as memory allows. The answers
    are the same."""

    @field_validator("min_new_tokens")
    @classmethod
    def _fits(cls, value: int, info: ValidationInfo) -> int:
        most = info.data.get("max_new_tokens", value)
        if value > most:
            raise ValueError(f"must be at most max_new_tokens={most}")
        return value

    @field_validator("length_penalty", "early_stopping", mode="after")
    @classmethod
    def _needs_beams(cls, value: Any, info: ValidationInfo) -> Any:
        if info.data.get("num_beams") == 1 and _chosen(cls, value, info):
            raise ValueError("acts on beams only; set num_beams to 2 or more")
        return value

    @field_validator("sample")
    @classmethod
    def _one_way(cls, value: bool, info: ValidationInfo) -> bool:
        if value and info.data.get("num_beams", 1) > 1:
            raise ValueError(
                f"sampling and num_beams={info.data['num_beams']} exclude each other; set num_beams=1 or sample=false"
            )
        return value

    @field_validator("temperature", "top_k", "top_p", "min_p")
    @classmethod
    def _needs_sampling(cls, value: Any, info: ValidationInfo) -> Any:
        if info.data.get("sample") is False and _chosen(cls, value, info):
            raise ValueError("acts on sampling only; set sample=true")
        return value

    @field_validator("log_probabilities")
    @classmethod
    def _of_tokens(cls, value: bool, info: ValidationInfo) -> bool:
        beams = info.data.get("num_beams", 1)
        if value and beams > 1:
            raise ValueError(f"num_beams={beams} scores whole answers, not tokens; set num_beams=1")
        return value

    @field_validator("num_answers")
    @classmethod
    def _enough(cls, value: int, info: ValidationInfo) -> int:
        beams = info.data.get("num_beams", value)
        if info.data.get("sample") is False and value > beams:
            raise ValueError(f"must be at most num_beams={beams}; set num_beams={value}, or sample=true")
        return value


def _chosen(options: type[Generation], value: Any, info: ValidationInfo) -> bool:
    """Whether a value differs from the default, which may well rest on a setting that a user turned off."""
    assert info.field_name is not None
    default: Any = options.model_fields[info.field_name].default
    return bool(value != default)


def answers(prediction: Prediction) -> list[Array]:
    """All answers that `generate` gave to one sample, ids int64 [n] each, the best first."""
    if "lengths" not in prediction.values:
        return [prediction.values["ids"]]
    ends = np.cumsum(prediction.values["lengths"])
    return np.split(prediction.values["answers"], ends[:-1])


def log_probabilities(prediction: Prediction) -> list[float] | None:
    """The log probability of each id of the best answer, where they were asked for."""
    found = prediction.values.get("log_probabilities")
    return None if found is None else [float(each) for each in found[: len(prediction.values["ids"])]]
