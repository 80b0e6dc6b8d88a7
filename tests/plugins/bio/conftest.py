from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from anyformer.task import resolve


@pytest.fixture
def fitted() -> Callable[..., Any]:
    """A function that binds a task to its tokenizers and fits it on raw rows, by default its examples."""

    def bind(kind: type[Any], rows: list[dict[str, Any]] | None = None, **config: Any) -> Any:
        tokenizers = {name: resolve(reference) for name, reference in kind.tokenizers.items()}
        bound = {name: tokenizer(tokenizer.Config()) for name, tokenizer in tokenizers.items()}
        task = kind(kind.Config(**config), bound)
        task.state = task.fit(task.records(kind.examples() if rows is None else rows))
        return task

    return bind
