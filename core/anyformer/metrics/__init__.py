"""Measures that need no domain: streaming, offline, equal to the reference implementation of the field.

A metric keeps a row of numbers a record and scores any rows; `RowStore` keeps the rows, `bootstrap` gives the intervals.
A plugin's own metric subclasses `OfSums` where its score follows from sums, and is then bootstrapped just as fast.
"""

from __future__ import annotations

from anyformer.metrics import bootstrap
from anyformer.metrics.base import OfSums, Weighted
from anyformer.metrics.bootstrap import RowStore
from anyformer.metrics.classification import Accuracy, ExactMatch, MacroF1, Matthews, TokenAccuracy
from anyformer.metrics.multi_label import LabelRanking, MultiLabelF1
from anyformer.metrics.regression import R2, OneNumber, Pearson, Spearman, SquaredError

__all__ = [
    "R2",
    "Accuracy",
    "ExactMatch",
    "LabelRanking",
    "MacroF1",
    "Matthews",
    "MultiLabelF1",
    "OfSums",
    "OneNumber",
    "Pearson",
    "RowStore",
    "Spearman",
    "SquaredError",
    "TokenAccuracy",
    "Weighted",
    "bootstrap",
]
