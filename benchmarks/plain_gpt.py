"""A decoder and its training loop in plain PyTorch, as nanoGPT has them: what people write who need no library.

Axis legend: B sequences, L length, H heads, E head width, D width, V vocabulary.

* One fused projection for queries, keys and values, the fused attention call, GELU, norms and projections without biases,
  the table of tokens shared with the output (https://github.com/karpathy/nanoGPT, MIT).
* On the CPU its AdamW is neither fused nor foreach, which is PyTorch's default there. Batches begin anywhere in the text.
"""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Block(nn.Module):
    """Causal self-attention and feed-forward, each after a norm."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.first_norm, self.second_norm = (nn.LayerNorm(width, bias=False) for _ in range(2))
        self.query_key_value = nn.Linear(width, 3 * width, bias=False)
        self.output = nn.Linear(width, width, bias=False)
        self.up = nn.Linear(width, 4 * width, bias=False)
        self.down = nn.Linear(4 * width, width, bias=False)

    def forward(self, x_BLD: Tensor) -> Tensor:
        """[B, L, D] to [B, L, D]."""
        q_BHLE, k_BHLE, v_BHLE = (
            x.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for x in self.query_key_value(self.first_norm(x_BLD)).split(x_BLD.shape[-1], dim=-1)
        )
        mixed_BHLE = F.scaled_dot_product_attention(q_BHLE, k_BHLE, v_BHLE, is_causal=True)
        x_BLD = x_BLD + self.output(mixed_BHLE.transpose(1, 2).contiguous().flatten(2))
        return x_BLD + self.down(F.gelu(self.up(self.second_norm(x_BLD))))


class GPT(nn.Module):
    """Tokens and positions, blocks, a last norm, and the loss of the next token."""

    def __init__(self, vocabulary: int, context: int, depth: int, heads: int, width: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(context, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width, bias=False)
        self.output = nn.Linear(width, vocabulary, bias=False)
        self.output.weight = self.tokens.weight
        for name, parameter in self.named_parameters():
            if parameter.ndim > 1:
                small = name.endswith(("output.weight", "down.weight")) and name.startswith("blocks")
                nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * depth) if small else 0.02)

    def forward(self, ids_BL: Tensor, labels_BL: Tensor) -> Tensor:
        """Ids and the ids after them [B, L] to the mean loss, a scalar."""
        x_BLD = self.tokens(ids_BL) + self.positions(torch.arange(ids_BL.shape[1]))
        for block in self.blocks:
            x_BLD = block(x_BLD)
        logits_BLV = self.output(self.norm(x_BLD))
        return F.cross_entropy(logits_BLV.flatten(0, 1), labels_BL.flatten())


class Loop:
    """Training, a number of steps at a time."""

    def __init__(self, model: GPT, ids: np.ndarray, batch: int, context: int, training: dict[str, Any], compiled: bool):
        self.ids, self.batch, self.context, self.training = ids, batch, context, training
        self.model: Any = torch.compile(model) if compiled else model
        adamw = training["optimizer"]
        matrices = [parameter for parameter in model.parameters() if parameter.ndim > 1]
        others = [parameter for parameter in model.parameters() if parameter.ndim < 2]
        groups = [
            {"params": matrices, "weight_decay": adamw["weight_decay"]},
            {"params": others, "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=adamw["lr"], betas=adamw["betas"])
        self.step = 0
        self.next = self._draw()

    def rate(self, steps: int) -> float:
        """Steps a second of the next `steps`."""
        began = time.perf_counter()
        for _ in range(steps):
            for group in self.optimizer.param_groups:
                group["lr"] = self._learning_rate()
            loss = self.model(*self.next)
            self.next = self._draw()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.training["clip"])
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
            self.step += 1
            if self.step % self.training["log_every"] == 0:
                loss.item()
        return steps / (time.perf_counter() - began)

    def _draw(self) -> tuple[Tensor, Tensor]:
        starts = torch.randint(len(self.ids) - self.context, (self.batch,)).tolist()
        rows = [torch.from_numpy(self.ids[start : start + self.context + 1].astype(np.int64)) for start in starts]
        return torch.stack([row[:-1] for row in rows]), torch.stack([row[1:] for row in rows])

    def _learning_rate(self) -> float:
        peak, schedule = self.training["optimizer"]["lr"], self.training["schedule"]
        if self.step < schedule["warmup"]:
            return peak * (self.step + 1) / (schedule["warmup"] + 1)
        share = min(1.0, (self.step - schedule["warmup"]) / (self.training["steps"] - schedule["warmup"]))
        low = schedule["final"] * peak
        return low + 0.5 * (1 + math.cos(math.pi * share)) * (peak - low)
