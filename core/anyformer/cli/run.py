"""`anyformer run TASK`: answer inputs with a model, from flags or from lines of JSON.

* A task's own Input and Options become flags: scalars as text, everything else as JSON or `key=@file`.
* `--stream` shows an answer while it is written. Whole, it reads as it does without.
"""

from __future__ import annotations

import json as jsons
import sys
from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin

import typer

from anyformer.cli import arguments as given
from anyformer.cli.output import Json, note, write, write_json

if TYPE_CHECKING:
    from anyformer.infer.pipeline import Piece


def command(
    task: Annotated[str, typer.Argument(help="Id of the task; see: anyformer tasks.")],
    fields: Annotated[
        list[str] | None,
        typer.Argument(metavar="FIELD=VALUE", help="One input and its options: text='A dog runs.' image=@cat.png"),
    ] = None,
    *,
    model: Annotated[str, typer.Option("--model", help="A run's folder or a model's.")],
    device: given.DeviceOption = "cpu",
    precision: given.PrecisionOption = None,
    stream: Annotated[bool, typer.Option("--stream", help="Show the answer while it is written.")] = False,
    json: Json = False,
) -> int:
    """Answer inputs with a model.

    Without FIELD=VALUE, inputs are read from standard input, one JSON object a line, and answers are printed one a line.
    A line that cannot be answered gives {"error": ...} in its place; the exit code is then 1.
    """
    from anyformer.api import pipeline

    if stream and json:
        raise ValueError("--stream shows text as it comes, and --json one object at the end; leave one of them out")
    if stream and not fields:
        raise ValueError("--stream shows one answer; give one input as FIELD=VALUE, or leave --stream out")
    asked = pipeline(task, model=model, device=device, precision=precision)
    if fields and stream:
        _follow(asked.tokens(**_parse(fields, asked)))
        return 0
    if fields:
        _show(asked(**_parse(fields, asked)).model_dump(mode="json"), json)
        return 0
    if sys.stdin.isatty():
        names = " ".join(f"{name}=..." for name in asked.task.Input.model_fields)
        raise ValueError(f"nothing to answer; give {names}, or lines of JSON on standard input")
    failures = 0
    for answer in asked.stream(_lines(sys.stdin), errors="return"):
        if isinstance(answer, ValueError):
            failures += 1
            write_json({"error": str(answer)})
            note(f"error: {answer}")
        else:
            write_json(answer.model_dump(mode="json"))
    return 1 if failures else 0


def _show(values: dict[str, Any], json: bool = False) -> None:
    if json:
        write_json(values)
        return
    for name, value in values.items():
        write(f"{name}: {value if isinstance(value, str) else jsons.dumps(value, ensure_ascii=False)}")


def _follow(pieces: Iterator[Piece]) -> None:
    """Show the text of an answer as it grows, and its other fields once it is whole."""
    begun: str | None = None
    values: dict[str, Any] = {}
    try:
        for piece in pieces:
            values = piece.output.model_dump(mode="json")
            if begun is None:
                begun = next((name for name, value in values.items() if isinstance(value, str)), "")
                _write_part(f"{begun}: " if begun else "")
            _write_part(piece.added)
    except BrokenPipeError:
        return  # who calls a command flushes once more, finds that nobody reads, and exits as for any command
    finally:
        if begun:
            write()
    _show({name: value for name, value in values.items() if name != begun})


def _write_part(text: str) -> None:
    """A part of a line for a person, at once; characters that the encoding of standard output lacks are escaped."""
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))
    sys.stdout.flush()


def _lines(file: Any) -> Iterator[bytes | str]:
    """The lines that are not blank, as they are: the pipeline reads JSON, and refuses what is none by its number."""
    return (line.strip() for line in getattr(file, "buffer", file) if line.strip())


def _parse(fields: list[str], asked: Any) -> dict[str, Any]:
    """`FIELD=VALUE` as the fields of Input and Options: `@file` is the file's content, for a medium its path."""
    from pydantic import BaseModel

    known: dict[str, Any] = {**asked.task.Input.model_fields, **asked.task.Options.model_fields}
    given: dict[str, Any] = {}
    for text in fields:
        name, equals, value = text.partition("=")
        if not equals or name not in known:
            raise ValueError(f"{text!r} is no field of {asked.component}; write FIELD=VALUE with: {', '.join(known)}")
        given[name] = _value(value, known[name].annotation)
    assert issubclass(asked.task.Input, BaseModel)
    return given


def _value(value: str, annotation: Any) -> Any:
    from anyformer.media import Image

    kinds = {annotation, *(get_args(annotation) if get_origin(annotation) in (Union, UnionType) else ())}
    if value.startswith("@"):
        path = Path(value[1:])
        if Image in kinds:
            return path
        try:
            value = path.read_text("utf-8")
        except OSError as error:
            raise ValueError(f"cannot read {str(path)!r}: {error.strerror}") from None
        except UnicodeDecodeError:
            raise ValueError(f"{str(path)!r} is not text in UTF-8") from None
    if kinds & {str, Image}:
        return None if value == "null" and type(None) in kinds else value
    try:
        return jsons.loads(value)
    except (ValueError, RecursionError):
        return value
