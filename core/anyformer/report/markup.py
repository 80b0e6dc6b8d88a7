"""HTML as nested calls: `tag("p", "x < y")` is `<p>x &lt; y</p>`. Everything that is not markup already is escaped.

* Labels, file names and settings come from users' data, so escaping is the rule and `Markup` the exception.
* The page forbids itself scripts and every outside address, by a content security policy.
* Colours are named once, for light and for dark; charts use the same names.
"""

from __future__ import annotations

import html
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

VOID = frozenset({"img", "meta"})
"""Elements without an end."""
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
_CONTROL = dict.fromkeys((*range(9), 11, 12, *range(14, 32), *range(127, 160)), "�")

STYLE = """
:root { color-scheme: light dark; --back: #fbfbfa; --card: #ffffff; --text: #1d2125; --soft: #626b75; --line: #e1e4e8;
  --ours: #2f6fab; --other: #b26a00; --good: #23744a; --bad: #a13d2d; }
@media (prefers-color-scheme: dark) { :root { --back: #14171a; --card: #1c2024; --text: #e4e7ea; --soft: #9aa4ae;
  --line: #333a41; --ours: #76b0e8; --other: #e3a857; --good: #6cc394; --bad: #ec8f7e; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2.5rem 1.25rem 4rem; max-width: 62rem; background: var(--back); color: var(--text);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .3rem; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2.6rem 0 .8rem; }
h3 { font-size: 1rem; margin: 0 0 .4rem; overflow-wrap: anywhere; }
p { margin: .4rem 0 .8rem; max-width: 46rem; overflow-wrap: anywhere; }
a { color: var(--ours); }
.soft, figcaption, .problem { color: var(--soft); font-size: .88rem; }
.verdict { border-left: 4px solid var(--soft); background: var(--card); padding: .7rem 1rem; margin: 1.2rem 0; }
.verdict.good { border-color: var(--good); } .verdict.bad { border-color: var(--bad); }
.good strong, td.good { color: var(--good); } .bad strong, td.bad { color: var(--bad); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .92rem; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .9rem .35rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
th { font-weight: 600; color: var(--soft); } tbody th { color: var(--text); white-space: nowrap; }
th.number, td.number { text-align: right; white-space: nowrap; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); gap: 1rem; }
.charts .whole { grid-column: 1 / -1; }
figure { margin: 0; padding: .9rem; background: var(--card); border: 1px solid var(--line); border-radius: 6px; }
figure img { max-width: 100%; height: auto; display: block; margin: 0 auto; background: #ffffff; border-radius: 3px; }
figure svg { width: 100%; height: auto; display: block; }
figcaption { margin-top: .5rem; overflow-wrap: anywhere; }
pre { background: var(--card); border: 1px solid var(--line); border-radius: 6px; padding: .9rem; overflow-x: auto;
  font: .82rem/1.5 ui-monospace, "SF Mono", Menlo, Consolas, monospace; margin: .6rem 0; }
summary { cursor: pointer; color: var(--soft); }
svg text { font-size: 12px; fill: var(--soft); font-variant-numeric: tabular-nums; }
svg text.strong { fill: var(--text); } svg .grid { stroke: var(--line); }
svg .ours { stroke: var(--ours); } svg .other { stroke: var(--other); }
svg .line { fill: none; stroke-width: 1.8; stroke-linejoin: round; }
svg .dot { stroke-width: 1.8; fill: var(--card); } svg .ours.full { fill: var(--ours); }
svg .span { stroke-width: 2.2; }
"""


class Markup(str):
    """Text that is HTML already, and is not escaped again."""

    __slots__ = ()


def escape(text: object) -> Markup:
    """Text made harmless between tags and within quotes; characters that HTML forbids become a mark."""
    return Markup(html.escape(str(text).translate(_CONTROL)))


def join(children: Iterable[object]) -> Markup:
    """Children side by side, escaped where they are not markup; None is nothing."""
    return Markup("".join(c if isinstance(c, Markup) else escape(c) for c in children if c is not None))


def tag(name: str, /, *children: object, **attributes: object) -> Markup:
    """An element. `_` in an attribute's name is written `-`, a last one left out (`class_`); None leaves it out."""
    given = {key.rstrip("_").replace("_", "-"): value for key, value in attributes.items() if value is not None}
    start = "".join(f' {key}="{escape(value)}"' for key, value in given.items())
    if name in VOID:
        assert not children, f"{name} holds nothing"
        return Markup(f"<{name}{start}>")
    return Markup(f"<{name}{start}>{join(children)}</{name}>")


def section(title: str, *children: object) -> Markup:
    """A part of a page under its heading."""
    return tag("section", tag("h2", title), *children)


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], numbers: Iterable[int] = ()) -> Markup:
    """A table whose first column names the rows; the columns at `numbers` are set to the right. No columns, no head."""
    right = frozenset(numbers)

    def cell(name: str, place: int, value: object) -> Markup:
        if isinstance(value, Markup) and value.startswith("<td"):
            return value
        return tag(name, value, class_="number" if place in right else None)

    names = tag("tr", *(cell("th", place, column) for place, column in enumerate(columns)))
    head = tag("thead", names) if columns else None
    body = [tag("tr", *(cell("td" if place else "th", place, v) for place, v in enumerate(row))) for row in rows]
    return tag("div", tag("table", head, tag("tbody", *body)), class_="wide")


def write_page(path: Path, title: str, *body: object) -> Path:
    """Write a whole page, aside first, so that a reader finds the old page or the new one. Returns its path."""
    head = [
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
        tag("title", title),
        tag("style", Markup(STYLE)),
    ]
    page = tag("html", tag("head", *head), "\n", tag("body", *body), lang="en")
    aside = path.with_name(f".writing-{path.name}")
    try:
        aside.write_text(f"<!doctype html>\n{page}\n", encoding="utf-8", errors="backslashreplace")
        os.replace(aside, path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    return path
