"""Operations of a whole model, embedding and head included, counted while it runs a few samples.

* PyTorch counts what it knows; what it does not, the operator `anyformer::attend`, is counted here as `plan.flops` does.
* For a trunk alone it is the closed form of `plan.flops`. What a plugin puts around it (a backbone, a head at 15 % of the
  tokens, one vector a sequence) has none, and a run counts its tokens as its samples say (`Sample.cost`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode, register_flop_formula

from anyformer.data import at_hand
from anyformer.data.packs import collate
from anyformer.nn import Model, operator
from anyformer.plan.flops import TRAINING, attention, seen

COUNTED = 4
"""Records that stand for all of a run's, spread evenly."""
assert operator, "it registers torch.ops.anyformer.attend"


def run_flops_per_token(model: Model, id: str, records: Sequence[Any], seed: int = 0) -> float:
    """Operations of training for one token as a run counts tokens, forward and backward.

    Args:
        model: it runs on the device that it is on, in evaluation, without gradients.
        id: of the component that learns.
        records: of the training part.
        seed: of what is random in its samples.
    """
    records = at_hand(records)
    spread = np.unique(np.linspace(0, len(records) - 1, min(COUNTED, len(records))).astype(int)).tolist()
    rng = np.random.default_rng(seed)
    samples = [sample for index in spread for sample in model[id].task.learn(records[index], rng)]
    tokens = sum(sample.cost for sample in samples)
    if not tokens:
        return 0.0
    parts, targets = collate(samples, next(model.parameters()).device)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model.eval()(parts, targets, id)
    return TRAINING * counter.get_total_flops() / tokens


@register_flop_formula(torch.ops.anyformer.attend, get_raw=True)
def _attend(
    q_THE: Tensor, k_SKE: Tensor, v_SKE: Tensor, q_bounds: Tensor, k_bounds: Tensor, bias: Tensor | None,
    seed: Tensor | None, causal: bool, window: int, *_: Any, **__: Any,
) -> int:  # fmt: skip
    """Two products for each sequence."""
    lengths = zip(q_bounds.diff().flatten().tolist(), k_bounds.diff().flatten().tolist(), strict=True)
    width = q_THE.shape[1] * q_THE.shape[2]
    return sum(attention(queries, seen(keys, causal, window), width) for queries, keys in lengths)
