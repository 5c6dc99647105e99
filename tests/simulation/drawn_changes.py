"""Draws what changes in the market, or in what its provider says of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any, Final

KINDS: Final[Mapping[str, float]] = {
    "corrected": 3,
    "bars lacking": 2,
    "day lacking": 2.5,
    "bars rejected": 1.5,
    "outage": 1,
    "silent": 1,
    "halted": 1,
    "halted all day": 1,
    "thin day": 1,
    "split": 0.7,
    "scaled": 0.7,
    "day repeated": 0.5,
    "bars withheld": 1.5,
    "bars of another": 0.4,
    "official absent": 1,
    "official close": 1,
    "official volume": 1,
}
MAY_LAST: Final = ("day lacking", "silent", "bars withheld", "official absent", "thin day", "halted all day")
"""Kinds that may go on for many sessions."""
LISTINGS: Final = ("listed", "delisted", "renamed")
What = dict[str, Any]


def drawn_change(
    random: Random, names: Sequence[str], recent: Sequence[str], coming: Sequence[str], later: Sequence[str]
) -> tuple[str, What]:
    """Return the kind of a change and what it is about.

    ``recent`` are the dates that it may be about, the last one today's; ``coming`` those after them. ``later`` are
    moments at which it may end.
    """
    kind = random.choices([*KINDS], [*KINDS.values()])[0]
    if kind == "bars of another" and len(names) < 2:
        kind = "scaled"
    date = recent[-1] if kind == "split" or random.random() < 0.5 else random.choice(recent)
    what: What = {"symbol": random.choice(names), "date": date, **_details(random, kind)}
    if kind == "outage":
        del what["symbol"]
    if kind == "bars of another":
        what["of"] = random.choice([name for name in names if name != what["symbol"]])
    is_withheld = kind == "bars withheld" or what.get("official", False)  # shows only if it goes on
    if kind in MAY_LAST and (is_withheld or random.random() < 0.4):
        what["last"] = random.choice((recent[-1], coming[2], coming[6], coming[11]))
    if kind != "split" and random.random() < 0.4:
        what["until"] = random.choice(later)
    return kind, what


def _details(random: Random, kind: str) -> What:
    if kind in ("corrected", "bars lacking", "bars rejected"):
        return {"bars": random.choice((1, 2, 5))}
    if kind in ("halted", "outage"):
        return {"minute": random.choice((0, 60, 240)), "minutes": random.choice((15, 60, 150))}
    if kind in ("halted all day", "day lacking"):
        return {"official": random.random() < 0.5}
    choices: dict[str, What] = {
        "bars withheld": {"how": random.choice(("odd", "late", "early"))},
        "thin day": {"every": random.choice((2, 5))},
        "split": {"ratio": random.choice((2, 4, 0.1))},
        "scaled": {"factor": random.choice((10, 0.01, 1.1))},
        "official close": {"factor": random.choice((1.005, 1.05, 0.5))},
        "official volume": {"factor": random.choice((0.5, 1.01, 3))},
    }
    return choices.get(kind, {})


def drawn_listing(random: Random, names: Sequence[str], dates: Sequence[str]) -> tuple[str, What]:
    """Return a listing, a delisting or a new name on one of these dates, which is known from the beginning."""
    kind = random.choice(LISTINGS if len(names) > 1 else LISTINGS[:2])
    what: What = {"symbol": names[0], "date": random.choice(dates[1:])}
    if kind == "renamed":
        what["to"] = names[1]
    return kind, what
