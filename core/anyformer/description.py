"""`anyformer.json`, the description of a saved model: what may stand in it, and what is wrong with one that cannot be read.

It comes from strangers, so every key is known, every id is looked up among the installed plugins, and nothing in it names a
module, a file or an address.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ValidationError

from anyformer.nn import config
from anyformer.task import Frozen, explain

ModelT = TypeVar("ModelT", bound=BaseModel)
FORMAT: Literal[1] = 1
NAME = "anyformer.json"


class TokenizerEntry(Frozen):
    """A tokenizer of a component."""

    id: str | None = None
    """Under which a plugin registers it; None: the task's own."""
    config: dict[str, Any]


class ComponentEntry(Frozen):
    """A component, under its id."""

    kind: Literal["task", "objective"]
    config: dict[str, Any]
    tokenizers: dict[str, TokenizerEntry]
    distribution: str | None = None
    """Where the task came from, and its version."""
    version: str | None = None


class Page(BaseModel, frozen=True, extra="allow"):
    """The whole file; what it holds beside these fields are notes of its maker."""

    format: Literal[1] = FORMAT
    anyformer: str
    """The version that wrote it."""
    trunk: config.Trunk
    components: dict[str, ComponentEntry]

    @property
    def info(self) -> dict[str, Any]:
        """The notes."""
        return dict(self.model_extra or {})


def read_page(folder: Path) -> Page:
    """The description in a folder. Raises `ValueError` if there is none, or it is damaged or of another format."""
    path = folder / NAME
    if not path.is_file():
        raise ValueError(_what_is_there(folder))
    page = read_json(path)
    found = page.get("format") if isinstance(page, dict) else page
    if found != FORMAT:
        raise ValueError(f"{path} has format {found!r}; this version of anyformer reads format {FORMAT}")
    return validated(Page, page, path)


def read_json(path: Path, largest: int | None = None) -> Any:
    """The value in a file. Raises `ValueError` naming the file, also if it has more than `largest` bytes."""
    try:
        size = path.stat().st_size
        if largest is not None and size > largest:
            raise ValueError(f"{path} has {size:,} bytes; at most {largest:,} are read")
        text = path.read_text("utf-8")
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no JSON: {error}") from None
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no JSON: {error}") from None


def validated(model: type[ModelT], values: Any, where: object) -> ModelT:
    """A model made from values of a file. Raises `ValueError` in one line that says where they come from."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise ValueError(f"{where}: {explain(error)}") from None


def _what_is_there(folder: Path) -> str:
    if not folder.exists():
        return (
            f"there is no model at {folder}; give a run's folder, a saved model's, or that of a checkpoint with "
            "config.json; one on the hub is written hf://owner/name"
        )
    if not folder.is_dir():
        return f"{folder} is a file; a model is a folder with {NAME}"
    names = sorted(path.name for path in folder.iterdir())
    shown = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
    return f"{folder} is no model: it has no {NAME}; it has: {shown or 'nothing'}"
