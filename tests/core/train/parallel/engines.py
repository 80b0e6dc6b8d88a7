"""Engines on the examples of real tasks, one of each domain, alone or among other processes."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from anyformer.testing.subject import Subject
from anyformer.train.courses import Course
from anyformer.train.engine import Engine
from anyformer.train.parallel.world import World
from anyformer.train.prepare import new_model, new_task, task_settings
from anyformer.train.settings import AdamW, Constant, Parallel, Training

TASKS = ("nlp/text-classification", "vision/image-classification", "bio/secondary-structure", "finance/forecast")
WAYS = {"replicas": Parallel(), "shards": Parallel(shard=2), "tensor": Parallel(tensor=2)}
STEPS = 20


def engine_of(ids: tuple[str, ...], world: World, parallel: Parallel, dtype: torch.dtype, **training: Any) -> Engine:
    """An engine on the examples of tasks that share a trunk; nothing is dropped out."""
    subjects = [Subject.of(id) for id in ids]
    settings = task_settings(subjects[0].kind, [{"trunk": subjects[0].trunk}])
    bound = {each.id: new_task(each.kind, task_settings(each.kind, []), each.rows, None) for each in subjects}
    model = new_model(bound, settings, None)[0].model.to(dtype)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    courses = [Course(each.id, bound[each.id].records(each.rows)) for each in subjects]
    given = {"optimizer": AdamW(lr=1e-3), "schedule": Constant(), **training}
    chosen = Training(**{"steps": STEPS, "records": 6, "tokens": 40, "log_every": 1, "parallel": parallel, **given})
    return Engine(model, courses, chosen, torch.device("cpu"), world)
