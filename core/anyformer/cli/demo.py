"""`anyformer demo`: every plugin learns something real in a minute or two, and draws it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from anyformer import plugins
from anyformer.cli.output import Json, note, note_failing, write, write_json, write_table
from anyformer.demo import SECONDS, choose, prepare, show
from anyformer.report.row import COLUMNS, Row
from anyformer.report.words import duration, number

Names = Annotated[list[str] | None, typer.Argument(metavar="[PLUGIN|TASK]...", help="Only these; default: all.")]
Out = Annotated[Path, typer.Option(help="The demo's own folder; the runs of an earlier demo in it are replaced.")]


def command(context: typer.Context, names: Names = None, out: Out = Path("demo"), json: Json = False) -> int:
    """Every plugin learns something real in a minute or two.

    The data comes with installed packages; nothing is downloaded. Each task is trained from scratch and scored beside its
    baselines; report.html in the folder has a picture of each. Exit code 1 if a demo failed.
    """
    ids = choose(names or [])
    prepare(out, ids)
    note(f"trained from scratch on real data, about {duration(SECONDS * len(ids))} on two cores: {', '.join(ids)}")
    note_failing()
    started = time.perf_counter()
    rows: list[Row] = []
    if code := _show_all(ids, out, rows, debug=bool(context.obj)):
        note(f"stopped; {len(rows)} of {len(ids)} demos are finished, in {out}")
        return code
    seconds = round(time.perf_counter() - started, 1)
    from anyformer.report import write_demo  # after the demos: it imports torch, and a wrong name is told at once

    page = write_demo(out, rows)
    if json:
        listed = [row.as_dict() for row in rows]
        write_json({"out": str(out), "report": str(page), "seconds": seconds, "tasks": listed})
    else:
        _print(rows)
        write(f"\n{duration(seconds)} in all; pictures: {page}")
    states = {row.state for row in rows}
    return 0 if "done" in states and "failed" not in states else 1


def _show_all(ids: Sequence[str], out: Path, rows: list[Row], debug: bool) -> int:
    """Show one after the other, a row for each; the exit code of a signal, or 0."""
    from anyformer.progress import Progress
    from anyformer.train.stop import Stopped

    listener = Progress()
    plugins.register(listener)
    try:
        for place, id in enumerate(ids, start=1):
            note(f"[{place}/{len(ids)}] {id}")
            rows.append(show(id, out, lambda data: note(f"  {data}"), debug))
            note(f"  {_sentence(rows[-1])}")
    except Stopped as stopped:
        return stopped.code
    except KeyboardInterrupt:
        return 130
    finally:
        plugins.unregister(listener)
    return 0


def _print(rows: Sequence[Row]) -> None:
    """The table, and a line for each task that showed no skill or no result."""
    write_table(COLUMNS, [row.cells() for row in rows])
    for row in rows:
        if row.verdict != "skill":
            write(f"{row.task}: {row.verdict or row.state}: {row.reason}")


def _sentence(row: Row) -> str:
    if row.baseline is None:
        return f"{row.state}: {row.reason}"
    beside = f"{number(row.baseline['value'])} of {row.baseline['name']!r}"
    return f"{row.verdict}: {row.metric} {number(row.model)} beside {beside}, {duration(row.seconds)}"
