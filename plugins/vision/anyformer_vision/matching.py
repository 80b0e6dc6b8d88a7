"""Which prediction answers for which object: the assignment of least cost, and the overlap of boxes it goes by.

Carion et al. 2020, https://arxiv.org/abs/2005.12872, section 3.1.

Axis legend: B images, Q predictions of an image, N objects of all images, n objects of one image, C classes.

* An object gets one prediction and a prediction at most one object, so that a model need not be told to answer once.
* Nothing here has a gradient but `generalized_iou`. The assignment is made on the host, image by image (Kuhn 1955).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

CLASS_COST, DISTANCE_COST, OVERLAP_COST = 1.0, 5.0, 2.0
"""What the probability of the class, the distance of the edges and the overlap of the boxes weigh against each other."""


def match(
    logits_BQC: Tensor, boxes_BQ4: Tensor, classes_N: Tensor, objects_N4: Tensor, counts: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """The prediction, a row of [B * Q], and the object, a row of [N], of each pair; int64 [N] each, where the logits are.

    `counts` are the objects of each image, at most Q. Boxes are centre x, centre y, width, height. A cost that is no
    number counts as the greatest: a model that diverges is stopped by the engine, with words of its own.
    """
    from scipy.optimize import linear_sum_assignment

    device, num_queries = logits_BQC.device, logits_BQC.shape[1]
    assert max(counts, default=0) <= num_queries, "more objects than predictions"
    # One transfer of all predictions, and not one for each image.
    probabilities = logits_BQC.detach().softmax(-1).cpu()
    found, classes, objects = boxes_BQ4.detach().cpu(), classes_N.cpu(), objects_N4.cpu().to(boxes_BQ4.dtype)
    rows, columns, start = [], [], 0
    for image, count in enumerate(counts):
        mine = slice(start, start + count)
        cost_Qn = (
            DISTANCE_COST * torch.cdist(found[image], objects[mine], p=1)
            - CLASS_COST * probabilities[image][:, classes[mine]]
            - OVERLAP_COST * generalized_iou(corners(found[image])[:, None], corners(objects[mine])[None])
        )
        greatest = torch.finfo(cost_Qn.dtype).max
        cost_Qn = cost_Qn.nan_to_num(nan=greatest, posinf=greatest, neginf=greatest)
        row, column = linear_sum_assignment(cost_Qn.numpy())
        rows.append(torch.from_numpy(row) + image * num_queries)
        columns.append(torch.from_numpy(column) + start)
        start += count
    return torch.cat(rows).to(device), torch.cat(columns).to(device)


def corners(boxes: Tensor) -> Tensor:
    """Centre x, centre y, width, height to x0, y0, x1, y1; [..., 4]."""
    centre, half = boxes[..., :2], boxes[..., 2:] / 2
    return torch.cat([centre - half, centre + half], dim=-1)


def generalized_iou(a: Tensor, b: Tensor) -> Tensor:
    """Generalized intersection over union of boxes x0, y0, x1, y1: [..., 4] and [..., 4] to [...], from -1 to 1.

    Boxes that do not meet are the worse the more space lies around them (Rezatofighi et al. 2019,
    https://arxiv.org/abs/1902.09630).
    """
    shared = _area(torch.maximum(a[..., :2], b[..., :2]), torch.minimum(a[..., 2:], b[..., 2:]))
    union = _area(a[..., :2], a[..., 2:]) + _area(b[..., :2], b[..., 2:]) - shared
    hull = _area(torch.minimum(a[..., :2], b[..., :2]), torch.maximum(a[..., 2:], b[..., 2:]))
    return shared / union - (hull - union) / hull


def _area(low: Tensor, high: Tensor) -> Tensor:
    """From lower to upper corner, [..., 2] each; 0 where they are not in order."""
    return (high - low).clamp(min=0).prod(dim=-1)
