"""Evaluation: a model beside the trivial methods, with an interval and a verdict.

* Streaming: of a record only the metrics' rows are kept, a few numbers each, and those of many records in a file.
* The interval is a bootstrap over records, in blocks where records follow one another in time.
* The verdict compares with the best baseline on the same records, paired: "skill" only if the interval of the difference
  excludes zero.
* A low precision is scored beside fp32 in one pass over the records, so that what it costs is a paired difference too.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import tee
from typing import Any, TypeVar

from anyformer.infer.evaluation import FP32, Evaluation, json_values
from anyformer.infer.pipeline import Pipeline
from anyformer.metrics.bootstrap import RowStore, difference, interval
from anyformer.task import Record

__all__ = ["Evaluation", "evaluate", "json_values", "score"]

BLOCKS = 20
"""Blocks of time that a bootstrap of a series draws from."""
ItemT = TypeVar("ItemT")


def evaluate(
    pipeline: Pipeline, records: Sequence[Record[Any, Any]], *, model: str = "", data: str = "", seed: int = 0,
    progress: Callable[[int], None] | None = None, precision: str | None = None, wide: Pipeline | None = None,
    **options: Any,
) -> Evaluation:  # fmt: skip
    """Answer every record and score the answers, the model's and the baselines'.

    Args:
        pipeline: the model to score.
        records: to be answered and scored.
        model: what a report calls the model.
        data: what a report calls the data.
        seed: of the bootstrap.
        progress: told the number of records done.
        precision: of the pipeline's model, where one was asked for: the answering is timed.
        wide: the same model in fp32, to stand beside a low precision.
        options: of the task's calls.

    Raises `ValueError` if there are no records, or the task has no baseline to compare with.
    """
    task = pipeline.task
    methods = task.baselines()
    if not methods:
        raise ValueError(f"{pipeline.component} has no baselines; without one its scores say nothing")
    models = {"": pipeline} if wide is None else {FP32: wide, "": pipeline}
    stores, seconds = _answer(models, records, methods, data, progress, options)
    block = max(1, len(records) // BLOCKS) if task.temporal else 1
    scores: dict[str, dict[str, float]] = {}
    for store in stores[""]:
        bounds = interval(store.metric, store, seed=seed, block=block)
        for name, value in store.scores().items():
            scores[name] = {"value": value, "low": bounds[name][0], "high": bounds[name][1]}
    told: dict[str, Any] | None = None
    if precision is not None:
        told = {"name": precision, "seconds": {name or precision: value for name, value in seconds.items()}}
        if wide is not None:
            told |= _beside(stores[""], stores.pop(FP32), seed, block)
    baselines = {name: _scores(found) for name, found in stores.items() if name}
    verdict, reason = _judge(stores, seed, block)
    return Evaluation(pipeline.component, model, data, len(records), scores, baselines, verdict, reason, told)


def score(pipeline: Pipeline, records: Sequence[Record[Any, Any]]) -> dict[str, float]:
    """The model's scores by metric, without intervals and baselines. Raises `ValueError` if there are no records."""
    stores, _ = _answer({"": pipeline}, records, {}, "", None, {})
    return _scores(stores[""])


def _answer(
    models: Mapping[str, Pipeline], records: Sequence[Record[Any, Any]], methods: Mapping[str, Callable[[Any], Any]],
    data: str, progress: Callable[[int], None] | None, options: Mapping[str, Any],
) -> tuple[dict[str, list[RowStore]], dict[str, float]]:  # fmt: skip
    """The rows of each metric by model and by method, and the seconds in which each model answered."""
    if not len(records):
        raise ValueError(f"{data or 'the data'} has no records to evaluate on")
    if len(models) > 1:  # what happens once, at the first answer, is nobody's time
        for pipeline in models.values():
            next(pipeline.stream([records[0].input], **options))
    metrics = models[""].task.metrics()
    stores = {name: [RowStore(metric) for metric in metrics] for name in (*models, *methods)}
    waiting: deque[Record[Any, Any]] = deque()
    reading, watches = _Watch(), {name: _Watch() for name in models}
    # Models in step: all of them make the same packs, so a record is read once and waits for the answers of all.
    inputs = tee(reading.over(_inputs(records, waiting)), len(models))
    answers = [
        watches[name].over(models[name].stream(given, **options)) for name, given in zip(models, inputs, strict=True)
    ]
    for done, outputs in enumerate(zip(*answers, strict=True), start=1):
        record = waiting.popleft()
        for name, output in zip(models, outputs, strict=True):
            _keep(stores[name], output, record.target)
        for name, method in methods.items():
            _keep(stores[name], method(record.input), record.target)
        if progress is not None:
            progress(done)
    seconds = {name: watch.seconds for name, watch in watches.items()}
    seconds[next(iter(models))] -= reading.seconds  # the first in step is the one that reads
    return stores, seconds


class _Watch:
    """The seconds in which items are made, without those in which they are used."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def over(self, items: Iterable[ItemT]) -> Iterator[ItemT]:
        """The items as they are."""
        making = iter(items)
        while True:
            began = time.perf_counter()
            try:
                item = next(making)
            except StopIteration:
                return
            finally:
                self.seconds += time.perf_counter() - began
            yield item


def _beside(ours: Sequence[RowStore], theirs: Sequence[RowStore], seed: int, block: int) -> dict[str, Any]:
    """The scores of fp32, and how far the deciding score of a low precision is from it on the same records."""
    values = _scores(theirs)
    metric = ours[0].metric
    name = metric.names[0]
    low, high = difference(metric, ours[0], theirs[0], seed=seed, block=block)
    value = _scores(ours[:1])[name] - values[name]
    return {"beside": {FP32: values}, "difference": {"metric": name, "value": value, "low": low, "high": high}}


def _inputs(records: Sequence[Record[Any, Any]], waiting: deque[Record[Any, Any]]) -> Iterator[Any]:
    """Inputs one by one; the record waits for its answer."""
    for record in records:
        waiting.append(record)
        yield record.input


def _keep(stores: Sequence[RowStore], output: Any, target: Any) -> None:
    for store in stores:
        store.append(store.metric.row(output, target))


def _scores(stores: Sequence[RowStore]) -> dict[str, float]:
    return {name: value for store in stores for name, value in store.scores().items()}


def _judge(stores: Mapping[str, Sequence[RowStore]], seed: int, block: int) -> tuple[str, str]:
    """The verdict on the deciding metric, against the best baseline."""
    metric = stores[""][0].metric
    name = metric.names[0]
    sign = 1.0 if metric.higher_is_better else -1.0
    found = {method: sign * store[0].scores()[name] for method, store in stores.items()}
    ours = found.pop("")
    values = {method: value for method, value in found.items() if not math.isnan(value)}
    if math.isnan(ours):
        return "no skill", f"{name} of the model is not defined on these records"
    if not values:
        return "no skill", f"{name} of no baseline is defined on these records, so there is nothing to compare with"
    best = max(values, key=lambda method: values[method])
    low, high = difference(metric, stores[""][0], stores[best][0], seed=seed, block=block)
    gain = sorted((sign * low, sign * high))
    span = f"{name} differs from {best!r} by {low:+.4f} to {high:+.4f}"
    if gain[0] > 0:
        return "skill", f"better than its best baseline: {span}"
    if gain[1] < 0:
        return "no skill", f"worse than its best baseline: {span}"
    return "no skill", f"not shown to be better than its best baseline: {span}"
