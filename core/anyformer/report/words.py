"""Numbers and times as a person reads them."""

from __future__ import annotations

import math

NONE = "\N{EN DASH}"
"""What stands where there is no number."""


def number(value: float | None) -> str:
    """About four digits: `0.0806`, `97.22`, `12,345`, `1.3e-05`; a dash for none and for what is not finite."""
    if value is None or not math.isfinite(value):
        return NONE
    if isinstance(value, int) or abs(value) >= 10_000:
        return f"{value:,.0f}" if abs(value) < 1e15 else f"{value:.3e}"
    if value and abs(value) < 1e-3:
        return f"{value:.2g}"
    return f"{value:.4f}" if abs(value) < 1 else f"{value:#.4g}".rstrip(".")


def duration(seconds: float) -> str:
    """Hours and minutes, minutes and seconds, or seconds: `2 h 5 min`, `1 min 20 s`, `35 s`."""
    whole = round(seconds)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours:,} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
