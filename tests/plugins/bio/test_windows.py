from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from anyformer_bio.windows import inside, stitch, windows


@pytest.mark.parametrize(("context", "overlap"), [(7, 0), (7, 3), (7, 6), (1, 0), (64, 16)])
def test_every_position_is_answered_once_and_read_with_context(context: int, overlap: int) -> None:
    for length in range(1, 200):
        spans = windows(length, context, overlap)
        assert np.concatenate([np.arange(w.first, w.last) for w in spans]).tolist() == list(range(length))
        assert all(0 <= w.start <= w.first < w.last <= w.stop <= length for w in spans)
        assert all(w.stop - w.start == min(length, context) for w in spans)
        for left, right in pairwise(spans):
            assert left.stop - right.start >= overlap
            assert abs((left.stop - left.last) - (right.first - right.start)) <= 1  # the seam is in the middle
        if len(spans) > 1:
            assert length > context + (len(spans) - 2) * (context - overlap)  # one window less would not reach


def test_stitch_takes_each_position_from_the_window_that_answers_for_it() -> None:
    truth = np.arange(50)
    spans = windows(50, 20, 8)
    assert len(spans) == 4
    pieces = [np.full((20, 2), -1) for _ in spans]
    for piece, window in zip(pieces, spans, strict=True):
        piece[window.first - window.start : window.last - window.start] = truth[window.first : window.last, None]
    assert (stitch(spans, pieces) == truth[:, None]).all()


def test_inside_is_what_stitch_undoes() -> None:
    values = np.arange(50)
    spans = windows(50, 20, 8)
    seen = [inside(window, values, -100) for window in spans]
    assert [len(piece) for piece in seen] == [20] * 4
    assert sorted(np.concatenate(seen)[np.concatenate(seen) >= 0].tolist()) == values.tolist()
    assert stitch(spans, seen).tolist() == values.tolist()
