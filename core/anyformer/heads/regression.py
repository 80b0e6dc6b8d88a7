"""One or several numbers of a sequence.

Axis legend: B sequences, C numbers of one.

* The head knows no units: a task brings its targets to mean 0 and deviation 1, by what it learned from the training part,
  and answers back. Then one learning rate serves prices and probabilities.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from anyformer.heads.sequence import Pool, SequenceHead
from anyformer.nn.pack import Parts, Streams
from anyformer.task import Prediction

Miss = Literal["squared", "absolute", "huber"]


_ERRORS: Mapping[Miss, Callable[..., Tensor]] = {
    "squared": F.mse_loss, "absolute": F.l1_loss, "huber": F.huber_loss,
}  # fmt: skip


class Regression(SequenceHead):
    """Numbers for a sequence. Target part `values`, [1, C] a sequence: NaN where one is missing.

    The only term, `loss`, is averaged over all numbers that are known.
    """

    def __init__(
        self, width: int, num_values: int = 1, pool: Pool = "mean", hidden: str | None = None, dropout: float = 0.0,
        miss: Miss = "squared", stream: str = "source",
    ) -> None:  # fmt: skip
        """As `SequenceHead`. `miss`: the squared error, which learns means; the absolute one, which learns medians; or
        Huber's, half the square up to 1 and straight from there (Huber 1964, https://doi.org/10.1214/aoms/1177703732).
        """
        super().__init__(width, num_values, pool, hidden, dropout, stream)
        self.miss: Miss = miss

    def weigh(self, targets: Parts) -> dict[str, Tensor]:
        """The number of known values."""
        return {"loss": (~targets["values"].values.isnan()).sum().double()}

    def loss(self, streams: Streams, targets: Parts) -> dict[str, Tensor]:
        """Sum of the error over known values, in fp32 or wider."""
        found_BC = self(streams)
        if found_BC.dtype in (torch.float16, torch.bfloat16):
            found_BC = found_BC.float()
        true_BC = targets["values"].values.to(found_BC.dtype)
        known_BC = ~true_BC.isnan()
        return {"loss": _ERRORS[self.miss](found_BC[known_BC], true_BC[known_BC], reduction="sum")}

    def split(self, output: Tensor, streams: Streams) -> list[Prediction]:
        """`values` [C] of each sequence."""
        return [Prediction({"values": row}) for row in output.float().cpu().numpy()]
