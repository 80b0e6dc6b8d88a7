"""Words for error messages: what exists, and what was probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


def did_you_mean(given: str, names: Iterable[str]) -> str:
    """`" (did you mean 'x'?)"` for the name closest to what was given, or nothing."""
    close = difflib.get_close_matches(given, list(names), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def listed(names: Sequence[object], limit: int = 20) -> str:
    """Names in quotes, long ones cut, at most `limit` of them: `"'a', 'b' and 3 more"`; `"nothing"` for none."""
    shown = ", ".join(quoted(name) for name in names[:limit])
    return (shown + (f" and {len(names) - limit} more" if len(names) > limit else "")) or "nothing"


def quoted(value: object, limit: int = 60) -> str:
    """The value as Python writes it, cut to `limit` characters."""
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 3] + "..."
