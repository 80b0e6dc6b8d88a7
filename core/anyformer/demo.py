"""`anyformer demo`: every task that brings data of its own learns it, and is scored beside its baselines.

* A task that cannot be shown is a row with its reason, and the others go on.
* The folder is the demo's own: it holds `demo.json`, which lists the runs that the demo made. Only those are ever removed.
* Importing this module imports no torch, so that a wrong name or folder is told at once.
"""

from __future__ import annotations

import json
import shutil
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anyformer import plugins
from anyformer.hints import did_you_mean
from anyformer.plugins.guard import one_line
from anyformer.report.row import Row
from anyformer.task import resolve

if TYPE_CHECKING:
    from anyformer.task import Demo, Task

MARK = "demo.json"
"""The file by which a demo knows its own folder."""
SECONDS = 30
"""What a demo may take, about, on two cores."""
ANOTHER = "give the demo a folder of its own with --out"


class MissingError(ValueError):
    """Something that a demo needs is not installed; the message says what to install."""


def choose(names: Sequence[str]) -> list[str]:
    """Ids of the tasks to show, in the order of `anyformer tasks`: all that have a demo, or those of the plugins and tasks
    named. A task that cannot be imported is among them; its reason comes when it is run.

    Raises `ValueError` for a name that is no plugin and no task, and where there is no demo.
    """
    asked = {name: _ids(name) for name in names}
    with_demo = [id for id in plugins.tasks() if _may_have_demo(id)]
    if not with_demo:
        raise ValueError("no installed task has a demo; to install a plugin: pip install anyformer-DOMAIN")
    for name, ids in asked.items():
        if not set(ids) & set(with_demo):
            raise ValueError(f"{name!r} has no demo; tasks with one: {', '.join(with_demo)}")
    return [id for id in with_demo if not names or any(id in ids for ids in asked.values())]


def prepare(folder: Path, ids: Sequence[str]) -> None:
    """Make the folder of a demo, without the runs of an earlier one of the same tasks.

    Raises `ValueError`, and removes nothing, if anything is there that no demo made.
    """
    mark = folder / MARK
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{str(folder)!r} is a file; {ANOTHER}")
    if folder.is_dir() and any(folder.iterdir()) and not mark.is_file():
        raise ValueError(f"{str(folder)!r} is not empty and no demo made it; {ANOTHER}")
    known = set(_listed(mark)) if mark.is_file() else set()
    for id in ids:
        run = folder / id
        ours = id in known and not run.is_symlink() and (run / "run.yaml").is_file()
        if run.exists() and not ours and not (run.is_dir() and not any(run.iterdir())):
            raise ValueError(f"{str(run)!r} is no run of an earlier demo; {ANOTHER}")
    for id in ids:
        if (folder / id).exists():
            shutil.rmtree(folder / id)
    folder.mkdir(parents=True, exist_ok=True)
    mark.write_text(json.dumps({"tasks": sorted(known | set(ids))}))


def show(id: str, folder: Path, tell: Callable[[str], None], debug: bool = False) -> Row:
    """Train, score and draw the demo of one task; whatever goes wrong is in the row.

    `Stopped` and `KeyboardInterrupt` pass.
    """
    started = time.perf_counter()
    data = ""
    try:
        kind = plugins.task(id)
        demo = _open(id, kind)
        data = demo.data
        tell(data)
        found = _learn(id, demo, folder / id)
    except MissingError as error:
        return Row(id, "missing", reason=str(error), seconds=_since(started))
    except Exception as error:  # a plugin's code: one task's failure is that task's alone
        if debug:
            traceback.print_exc()
        return Row(id, "failed", data, reason=one_line(error), seconds=_since(started))
    return Row(id, "done", data, seconds=_since(started), **found)


def _learn(id: str, demo: Demo, folder: Path) -> dict[str, Any]:
    """Train and score; what a row says of it."""
    from anyformer import api
    from anyformer.report.pictures import pictures
    from anyformer.report.scores import best_baseline

    run = api.finetune(id, data=demo.train, valid=demo.valid, out=folder, settings=demo.settings)
    scores = run.scores
    asked = api.pipeline(id, model=run.folder)
    metric = asked.task.metrics()[0]
    name, value = best_baseline(metric, scores["baselines"])
    drawn = pictures(asked, asked.task.records(demo.valid), 1)
    return {
        "metric": metric.names[0],
        "model": scores["scores"][metric.names[0]]["value"],
        "low": scores["scores"][metric.names[0]]["low"],
        "high": scores["scores"][metric.names[0]]["high"],
        "baseline": {"name": name, "value": value},
        "verdict": scores["verdict"],
        "reason": scores["reason"],
        "run": str(folder),
        "picture": drawn[0] if drawn else None,
    }


def _open(id: str, kind: type[Task[Any, Any, Any]]) -> Demo:
    """The data of a demo. Raises `MissingError` where something it needs is not installed."""
    assert kind.demo is not None
    try:
        found: Demo = resolve(kind.demo)()
    except Exception as error:
        missing = _missing(error)
        if missing is None or missing.partition(".")[0] == kind.demo.partition(".")[0]:
            raise
        distribution, _ = plugins.distribution_of(id.partition("/")[0])
        said = str(error) if isinstance(error, ValueError) and "pip install" in str(error) else ""
        said = said or f"{missing!r} is not installed; to install it: pip install '{distribution}[demo]'"
        raise MissingError(said) from error
    return found


def _missing(error: BaseException | None) -> str | None:
    """The module whose absence an error came from, or None."""
    while error is not None:
        if isinstance(error, ModuleNotFoundError):
            return error.name
        error = error.__cause__ or error.__context__
    return None


def _ids(name: str) -> list[str]:
    """The tasks of a plugin, or the one task that a name stands for."""
    tasks = list(plugins.tasks())
    own = [id for id in tasks if id.partition("/")[0] == name]
    if own:
        return own
    bare = [id.partition("/")[2] for id in tasks]
    if "/" in name or name in bare:
        return [plugins.task_id(name)]
    for status in plugins.plugins():
        if status.name == name:
            trouble = f"is {status.state}: {status.reason}; to mend it: {status.fix}"
            raise ValueError(f"the plugin {name!r} {trouble if status.reason else 'has no task'}")
    domains = dict.fromkeys(id.partition("/")[0] for id in tasks)
    near = did_you_mean(name, [*domains, *bare])
    raise ValueError(
        f"{name!r} is no plugin and no task{near}; plugins: {', '.join(domains)}; tasks: {', '.join(tasks)}"
    )


def _may_have_demo(id: str) -> bool:
    """Whether a task brings a demo; one that cannot be imported may."""
    try:
        return plugins.task(id).demo is not None
    except ValueError:
        return True


def _listed(mark: Path) -> list[str]:
    """The tasks whose runs an earlier demo made."""
    try:
        return [str(id) for id in json.loads(mark.read_text())["tasks"]]
    except (ValueError, TypeError, KeyError):
        raise ValueError(f"no demo wrote {str(mark)!r}; {ANOTHER}") from None


def _since(started: float) -> float:
    return round(time.perf_counter() - started, 1)
