from __future__ import annotations

from typing import Any

from anyformer_nlp.marked import MAX_CHARACTERS, draw_marked


def written(axes: Any) -> dict[int, str]:
    """The lines of a picture by row; its words are written one by one."""
    lines: dict[int, str] = {}
    for text in axes.texts:
        column, row = map(round, text.get_position())
        lines[row] = lines.get(row, "").ljust(column) + text.get_text()
    return lines


def test_answer_and_truth_are_marked_where_they_stand() -> None:
    context = "word " * 400 + "the $2 loaf\nis here " + "more " * 500
    start = context.index("$2")
    figure = draw_marked("What?", context, (start, start + 7), [(start + 3, start + 10)])
    (axes,) = figure.axes
    lines = written(axes)
    grounds: list[str] = []
    underlines: list[str] = []
    for patch in axes.collections:
        (left, top), (right, bottom) = patch.get_datalim(axes.transData).get_points()
        text = lines[round((top + bottom) / 2)][round(left) : round(right)]
        (underlines if abs(bottom - top) < 0.2 else grounds).append(text)
    assert (grounds, underlines) == (["$2 loaf"], ["loaf", "is"])
    assert list(lines.values()).count("...") == 2
    assert sum(map(len, lines.values())) < MAX_CHARACTERS + 100
    figure.canvas.draw()


def test_it_is_said_that_there_is_no_answer() -> None:
    silent = written(draw_marked("What?", "a", None, []).axes[0])
    assert list(silent.values()) == ["What?", "no answer is given", "the truth: there is no answer", "a"]
    unknown = written(draw_marked("What?", "a", (0, 1), None).axes[0])
    assert list(unknown.values()) == ["What?", "the answer given, on blue", "a"]
