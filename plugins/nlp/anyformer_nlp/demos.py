"""What `anyformer demo` trains for language: real data that Babel carries from the Unicode CLDR, so nothing is downloaded.

* `dates`: a date as one of twenty languages writes it, to English. No date of the training part is in the held-out part,
  in any language.
* `language_of_a_name`: which of ten languages a name of a country, a language or a currency is in. No country, language
  or currency of the training part is in the held-out part, and a name that two languages share is left out.
"""

from __future__ import annotations

import random
from collections import defaultdict
from datetime import date, timedelta
from types import ModuleType
from typing import Any

from anyformer.task import Demo

DATE_LANGUAGES = (
    "bg",
    "ca",
    "cs",
    "da",
    "de",
    "el",
    "es",
    "fi",
    "fr",
    "hr",
    "hu",
    "it",
    "nl",
    "pl",
    "pt",
    "ro",
    "ru",
    "sv",
    "tr",
    "uk",
)
NAME_LANGUAGES = ("cs", "de", "es", "fi", "fr", "it", "nl", "pl", "pt", "sv")
FIRST_DAY, NUM_DAYS = date(1950, 1, 1), 36_525
"""A hundred years."""
NUM_TRAIN, NUM_VALID = 8_000, 400
"""Pairs of the demo of dates."""


def dates() -> Demo:
    """Dates of a hundred years in twenty languages, to English."""
    format_date = _babel().dates.format_date
    draw = random.Random(0)
    days = [FIRST_DAY + timedelta(days) for days in draw.sample(range(NUM_DAYS), NUM_TRAIN + NUM_VALID)]
    rows = []
    for day in days:
        language, length = draw.choice(DATE_LANGUAGES), draw.choice(("full", "full", "long"))
        rows.append({"text": format_date(day, length, language), "translation": format_date(day, length, "en")})
    return Demo(
        data=f"dates in {len(DATE_LANGUAGES)} languages to English, from Unicode CLDR by Babel; no date twice",
        train=rows[:NUM_TRAIN],
        valid=rows[NUM_TRAIN:],
        settings={
            "tokenizers.text.vocabulary_size": 1000,
            "trunk.encoder": {"width": 96, "depth": 2, "feed_forward.width": 384, "dropout": 0.0},
            "trunk.decoder": {"width": 96, "depth": 2, "feed_forward.width": 384, "dropout": 0.0},
            "training": {"steps": 250, "records": 64, "optimizer.lr": 2e-3, "schedule.warmup": 50},
        },
    )


def language_of_a_name() -> Demo:
    """Names of countries, languages and currencies in ten languages, with the language of each as label."""
    locale = _babel().Locale
    languages_of: defaultdict[str, set[str]] = defaultdict(set)
    rows_of: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    seen: set[str] = set()
    for language in NAME_LANGUAGES:
        for thing, name in _names(locale(language)):
            languages_of[name.lower()].add(language)
            rows_of[thing].append({"text": name, "label": language})
    things = sorted(rows_of)
    random.Random(0).shuffle(things)
    parts: tuple[list[dict[str, Any]], list[dict[str, Any]]] = ([], [])
    for place, thing in enumerate(things):
        for row in rows_of[thing]:
            name = row["text"].lower()
            if len(languages_of[name]) == 1 and name not in seen:
                seen.add(name)
                parts[place % 7 == 0].append(row)
    return Demo(
        data=f"names in {len(NAME_LANGUAGES)} languages, from Unicode CLDR by Babel; split by what they name",
        train=parts[0],
        valid=parts[1],
        settings={
            "tokenizers.text.vocabulary_size": 1000,
            "config": {"token_dropout": 0.0, "dropout": 0.1},
            "trunk.encoder": {"width": 128, "depth": 2, "dropout": 0.1},
            "training": {"steps": 500, "records": 64, "optimizer.lr": 2e-3, "schedule.warmup": 50},
        },
    )


def _names(locale: Any) -> list[tuple[str, str]]:
    """What is named (`territory DE`), and its name in the language of the locale; in a fixed order."""
    tables = {"territory": locale.territories, "language": locale.languages, "currency": locale.currencies}
    return [(f"{kind} {code}", table[code]) for kind, table in tables.items() for code in sorted(table)]


def _babel() -> ModuleType:
    try:
        import babel
        import babel.dates
    except ModuleNotFoundError:
        raise ValueError("this demo needs Babel: pip install 'anyformer-nlp[demo]'") from None
    return babel
