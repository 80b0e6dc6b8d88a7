"""What may come next: rules and filters on logits, and tokens proposed from them.

Axis legend: B drafts, V vocabulary.

* Rules come first, filters of sampling after them, in the order of the library transformers. Beams apply the rules to log
  probabilities, which then no longer sum to one; the others apply them to logits, which needs no softmax.
* Everything is computed in fp32 or wider, and leaves the device once a step, as a few numbers for each draft.
* A draw spends one number of the draft's own generator: it does not depend on the other drafts, nor on the device.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, log

import numpy as np
import torch
from torch import Tensor

from anyformer.infer.draft import Draft, Proposal
from anyformer.infer.options import Generation
from anyformer.task import Array

CHUNK = 64
"""Ids of a chunk, where the best of many ids are looked for."""
ROWS = 16
"""Rows of scores that fit the processor's own memory."""


def propose(logits_BV: Tensor, drafts: Sequence[Draft], options: Generation, num: int) -> list[list[Proposal]]:
    """Tokens that may follow each draft: the likeliest `num` with beams, best first; else the chosen one alone.

    The logits [B, V] may be changed in place.
    """
    scores_BV = logits_BV.to(torch.promote_types(logits_BV.dtype, torch.float32))
    ruled = _have_rules(drafts, options)
    if options.num_beams > 1:
        num = min(num, scores_BV.shape[-1])
        if ruled:
            best_BN, tokens_BN = likeliest(_ruled(scores_BV.log_softmax(-1), drafts, options), num)
        else:  # the same for all tokens is subtracted from the best alone
            best_BN, tokens_BN = likeliest(scores_BV, num)
            best_BN = best_BN - _log_sums(scores_BV)
        return [list(zip(*row, strict=True)) for row in zip(best_BN.tolist(), tokens_BN.tolist(), strict=True)]
    sums_B1 = _log_sums(scores_BV) if options.log_probabilities else None
    kept_BV = scores_BV.clone() if sums_B1 is not None and ruled else scores_BV
    if ruled:
        scores_BV = _ruled(scores_BV, drafts, options)
    tokens_B = _drawn(filtered(scores_BV, options), drafts) if options.sample else _first(scores_BV)
    chosen_B1 = scores_BV.gather(1, tokens_B[:, None])
    if sums_B1 is not None:
        own_B1 = kept_BV.gather(1, tokens_B[:, None]) - sums_B1
        chosen_B1 = own_B1.masked_fill(chosen_B1 == -inf, -inf)
    return [[pair] for pair in zip(chosen_B1[:, 0].tolist(), tokens_B.tolist(), strict=True)]


def likeliest(scores_BV: Tensor, num: int) -> tuple[Tensor, Tensor]:
    """The greatest `num` scores [B, num] and their ids, in order: first the best chunks of ids, then the best in them."""
    size = scores_BV.shape[-1]
    whole = size // CHUNK * CHUNK
    if scores_BV.is_cuda or whole < 8 * num * CHUNK:
        best = scores_BV.topk(num)
        return best.values, best.indices
    chunks_BCN = scores_BV[:, :whole].unflatten(1, (-1, CHUNK))
    chosen_BC = chunks_BCN.amax(-1).topk(num, sorted=False).indices
    found = chunks_BCN.gather(1, chosen_BC[:, :, None].expand(-1, -1, CHUNK)).flatten(1)
    ids = (chosen_BC[:, :, None] * CHUNK + torch.arange(CHUNK)).flatten(1)
    if whole < size:
        found = torch.cat([found, scores_BV[:, whole:]], 1)
        ids = torch.cat([ids, torch.arange(whole, size).expand(len(ids), -1)], 1)
    best = found.topk(num)
    return best.values, ids.gather(1, best.indices)


def _log_sums(scores_BV: Tensor) -> Tensor:
    """Log of the sum of exponentials [B, 1]: by the softmax of a few rows at a time, several times as fast as by itself."""
    most_B1 = scores_BV.amax(-1, keepdim=True)
    chances_B1 = torch.cat([rows.softmax(-1).amax(-1, keepdim=True) for rows in scores_BV.split(ROWS)])
    return most_B1 - chances_B1.log()


def _first(scores_BV: Tensor) -> Tensor:
    """The likeliest id [B]. NumPy's argmax is many times as fast as that of PyTorch on the CPU."""
    return scores_BV.argmax(-1) if scores_BV.is_cuda else torch.from_numpy(scores_BV.numpy().argmax(-1))


def _have_rules(drafts: Sequence[Draft], options: Generation) -> bool:
    """Whether a rule may change any score."""
    return (
        options.repetition_penalty != 1
        or options.no_repeat_ngram_size > 0
        or any(
            draft.request.forced or draft.request.suppressed or len(draft.written) < options.min_new_tokens
            for draft in drafts
        )
    )


def _ruled(scores_BV: Tensor, drafts: Sequence[Draft], options: Generation) -> Tensor:
    """Scores [B, V], changed in place by the rules of the options and of each sample's notes."""
    penalty = options.repetition_penalty
    if penalty != 1:
        places = _places([_seen(draft) for draft in drafts], scores_BV)
        scores_N = scores_BV[places]
        # An id that was there twice is written twice, with the same score.
        scores_BV[places] = torch.where(scores_N < 0, scores_N * penalty, scores_N / penalty)
    forbidden = [_forbidden(draft, options) for draft in drafts]
    if any(map(len, forbidden)):
        scores_BV[_places(forbidden, scores_BV)] = -inf
    for row, draft in enumerate(drafts):
        forced = draft.request.forced_at(len(draft.written))
        if forced is not None:
            scores_BV[row] = -inf
            scores_BV[row, forced] = 0
    return scores_BV


def _places(ids: Sequence[Array], scores_BV: Tensor) -> tuple[Tensor, Tensor]:
    """Where these ids of each draft stand in the scores: rows [N] and columns [N], without ids that have no score."""
    kept = [each[(each >= 0) & (each < scores_BV.shape[1])] for each in ids]
    rows_N = np.repeat(np.arange(len(kept)), [len(each) for each in kept])
    rows, columns = torch.from_numpy(np.stack([rows_N, np.concatenate(kept)])).to(scores_BV.device)
    return rows, columns


def _seen(draft: Draft) -> Array:
    return np.concatenate([draft.request.prompt, np.array(draft.written, np.int64)])


def _forbidden(draft: Draft, options: Generation) -> Array:
    """Ids that may not follow a draft, int64 [n]."""
    request = draft.request
    found = [*request.suppressed]
    if len(draft.written) < options.min_new_tokens:
        found.extend(request.ends)
    if options.no_repeat_ngram_size:
        found.extend(repeating(_seen(draft), options.no_repeat_ngram_size).tolist())
    return np.array(found, np.int64)


def repeating(ids: Array, size: int) -> Array:
    """The ids that would make the last `size` ids, with them, ones that were there before."""
    if len(ids) < size:
        return ids[:0]
    windows = np.lib.stride_tricks.sliding_window_view(ids, size)
    same = (windows[:, :-1] == ids[len(ids) - size + 1 :]).all(1)
    return windows[same, -1]


def filtered(scores_BV: Tensor, options: Generation) -> Tensor:
    """Logits [B, V] of sampling: divided by the temperature, and minus infinity where a token may not be drawn."""
    if options.temperature != 1:
        scores_BV = scores_BV / options.temperature
    if options.top_k:
        least_B1 = likeliest(scores_BV, min(options.top_k, scores_BV.shape[-1]))[0][:, -1:]
        scores_BV = scores_BV.masked_fill(scores_BV < least_B1, -inf)
    if options.top_p < 1:
        ordered_BV, ids_BV = scores_BV.sort(descending=True, stable=True)
        chances_BV = ordered_BV.softmax(-1)
        before_BV = chances_BV.cumsum(-1) - chances_BV
        before_BV[:, 0] = 0
        ordered_BV = ordered_BV.masked_fill(before_BV >= options.top_p, -inf)
        scores_BV = ordered_BV.scatter(1, ids_BV, ordered_BV)
    if options.min_p > 0:
        least_B1 = scores_BV.amax(-1, keepdim=True) + log(options.min_p)
        scores_BV = scores_BV.masked_fill(scores_BV < least_B1, -inf)
    return scores_BV


def _drawn(scores_BV: Tensor, drafts: Sequence[Draft]) -> Tensor:
    """One id [B] for each draft, by the probabilities of its logits."""
    numbers = [draft.rng.random() for draft in drafts if draft.rng is not None]
    assert len(numbers) == len(drafts), "a draft that is drawn has a generator"
    # Where the rules forbid everything there is no probability; any id will do, as its score says that it is none.
    sums_BV = scores_BV.double().softmax(-1).nan_to_num(0).cumsum(-1)
    level_B1 = torch.tensor(numbers, dtype=torch.float64, device=scores_BV.device)[:, None] * sums_BV[:, -1:]
    return torch.searchsorted(sums_BV, level_B1, right=True)[:, 0].clamp(max=scores_BV.shape[-1] - 1)
