"""``drawn``: the story of a seed. First what holds for all of it, then day after day what happens."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from itertools import count
from random import Random
from typing import Any, Final, TypeVar

from attrs import evolve

from marketpipe.shared_kernel.domain.timestamp import Timestamp
from tests.simulation.drawn_changes import drawn_change, drawn_listing
from tests.simulation.drawn_faults import ASKING, NEVER, FaultRates, drawn_faults
from tests.simulation.drawn_scenes import drawn_scene
from tests.simulation.exchange import all_sessions
from tests.simulation.story import Fault, Step, Story, SymbolTraits
from tests.simulation.traits import DiskTraits, Traits
from tests.simulation.usual_calls import FIRST, Counted, usual_calls

T = TypeVar("T")
CALM_DAYS: Final = 3
"""Sessions at the end of a story in which nothing goes wrong any more, so that everything has to heal."""
STEPS_OF_A_DAY: Final = 2
"""Of a calm day: an update, and a look at what is there."""
FINAL: Final = timedelta(days=1, hours=1, minutes=30)
"""How long after the midnight (UTC) of its date a session is final for all providers."""
COMMANDS: Final[Mapping[str, float]] = {
    "verify": 3,
    "coverage": 3,
    "load": 3,
    "load as of": 3,
    "load aggregate": 2,
    "load official": 1,
    "ingest": 2,
    "ingest retry": 2,
    "update": 1,
    "audit": 1,
    "audit adopt": 1.5,
    "get": 0.5,
    "plan": 0.5,
    "freeze": 1,
    "verify lock": 1.5,
    "aggregate": 1,
    "compact": 0.4,
    "expand": 0.4,
    "drop": 0.3,
    "recover": 0.3,
    "recover force": 0.5,
    "status": 0.5,
    "validate": 0.5,
}
EVENTS: Final[Mapping[str, float]] = {
    "power loss": 5,
    "rot": 3,
    "file lost": 2,
    "rewritten": 1.5,
    "something else": 1,
    "folder moved": 1,
    "copied": 0.7,
    "idle": 1,
    "disk full": 1.5,
    "disk read-only": 1,
    "clock": 2.5,
}
"""What happens to the machine, and how often."""
LONG_AGO: Final = 24
"""Sessions before the story, so that a month has long ended: then it may become one file."""
OF_OLD_STORES: Final[Mapping[str, float]] = {**COMMANDS, "compact": 3, "expand": 1.5}
AT_NOON: Final = ("ingest", "ingest", "get", "update", "load", "coverage")
"""While the session goes on."""
WITH_AN_END: Final = frozenset(["ingest", "ingest retry", "get", "load", "coverage", "audit", "audit adopt"])
CHANGES_FILES: Final = frozenset([*FIRST, "audit adopt", "compact", "expand", "aggregate"])
UNOFFICIAL: Final = frozenset(["official absent", "halted all day", "day lacking"])
"""Changes after which no official day may contradict what an answer lacks."""
LIES: Final = ("lie empty", "lie even", "lie late", "body {}", "omit-page", "other-symbol", "truncate")
ENDS: Final = {"disk full": "disk freed", "disk read-only": "disk writable", "clock": "clock"}
AREAS: Final = ("data", "data", "data", "revisions", "aggregates", "official", "quarantine", "copies")


PLACED: Final = ("folder", "link", "link to itself", "pipe", "file")
"""What takes the place of a file; a file is that of another symbol, day or month."""


def weighted(random: Random, weights: Mapping[T, float]) -> T:
    return random.choices([*weights], [*weights.values()])[0]


def drawn(seed: int, steps: int) -> Story:
    """Return the story of this seed, with about so many steps."""
    random = Random(f"{seed}/story")
    symbols = _symbols(random)
    traits, first = _traits(random)
    drawing = _Drawing(random, traits, tuple(symbols), first)
    return Story(seed, traits, tuple(symbols), tuple(drawing.steps_until(steps)))


def _symbols(random: Random) -> list[SymbolTraits]:
    names = ["AAPL", "MSFT", "BRK.B", "TSLA"][: weighted(random, {1: 4.0, 2: 4.0, 3: 1.0, 4: 1.0})]
    is_dense = random.random() < 0.1
    prices = (12.5, 180.0, 410.0, 60.0)
    return [
        SymbolTraits(name, 1 if is_dense and not number else weighted(random, {15: 6.0, 5: 1.0, 30: 1.0}), price=price)
        for number, (name, price) in enumerate(zip(names, prices, strict=False))
    ]


def _traits(random: Random) -> tuple[Traits, int]:
    """Return the traits, and the position of the first session of the story."""
    dates = [*all_sessions()]
    first = random.randrange(30, len(dates) - 250)
    begins = Timestamp.parse(f"{dates[first]}T06:00:00Z")
    traits = Traits(
        disk=_disk(random),
        patience=weighted(random, {0.99: 4.0, 0.9: 3.0, 0.5: 2.0, 0.0: 1.0}),
        skew=weighted(random, {0.0: 8.0, 20.0: 1.0, -300.0: 1.0}),
        feed=random.choice(("iex", "iex", "sip")),
        adjustment=weighted(random, {"raw": 3.0, "split": 1.0}),
        session=weighted(random, {"regular": 3.0, "extended": 2.0}),
        timeframes=weighted(random, {(): 4.0, ("5m", "1d"): 3.0, ("1h",): 1.0, ("15m", "1h", "1d"): 1.0}),
        copies=weighted(random, {"none": 6.0, "parquet": 1.0, "arrow": 2.0}),
        workers=weighted(random, {1: 4.0, 2: 3.0, 3: 2.0}),
        confirmations=weighted(random, {2: 4.0, 3: 1.0}),
        requests_per_minute=weighted(random, {200: 6.0, 30: 2.0, 8: 1.0}),
        begins=str(begins),
        start=dates[first - weighted(random, {0: 3.0, 1: 1.0, 4: 1.0, LONG_AGO: 0.6})],
    )
    return traits, first


def _disk(random: Random) -> DiskTraits:
    return DiskTraits(
        step_ns=weighted(random, {1: 4.0, 1_000: 2.0, 1_000_000_000: 1.0, 2_000_000_000: 1.0, 0: 0.5}),
        ordered=random.random() < 0.5,
        has_links=random.random() < 0.9,
        can_exchange=random.random() < 0.8,
        short_writes=random.random() < 0.15,
        listing=random.choice(("sorted", "reversed", "shuffled")),
    )


class _Drawing:
    """Draws the days of one story."""

    def __init__(self, random: Random, traits: Traits, symbols: tuple[SymbolTraits, ...], first: int) -> None:
        self._random, self._traits, self._symbols, self._first = random, traits, symbols, first
        self._dates, self._numbers = [*all_sessions()], count(1)
        self._rates = FaultRates.drawn(random)
        self._busy = weighted(random, {0.5: 2.0, 1.5: 3.0, 4.0: 1.0})
        """How many commands a day has besides its update, on average."""
        self._changes = weighted(random, {0.0: 1.0, 0.3: 2.0, 0.7: 1.0})
        self._events = 0.0 if self._rates.is_calm else weighted(random, {0.0: 1.0, 0.15: 2.0, 0.4: 1.0})
        self._scenes = 0.0 if self._rates.is_calm else weighted(random, {0.0: 2.0, 0.12: 1.0})
        self._beside = weighted(random, {0.0: 2.0, 0.1: 2.0, 0.4: 1.0})
        self._standing = list[str]()
        self._has_asked, self._is_unofficial = True, False
        is_old = bisect_left(self._dates, traits.start) <= first - LONG_AGO
        self._commands = OF_OLD_STORES if is_old else COMMANDS
        self._at = Timestamp.parse(traits.begins)

    def steps_until(self, steps: int) -> list[Step]:
        drawn, day = [*self._listings(), *self._before_all()], self._first
        calm = CALM_DAYS * STEPS_OF_A_DAY
        while len(drawn) < max(1, steps - calm) and day < len(self._dates) - CALM_DAYS - 1:
            drawn += self._day(day)
            day += 1
        self._at = self._evening(day)
        drawn += [self._over(kind) for kind in self._standing]
        for calm_day in range(day, day + CALM_DAYS):
            drawn += self._calm_day(calm_day)
        return drawn

    def _evening(self, day: int) -> Timestamp:
        return Timestamp.parse(f"{self._dates[day]}T00:00:00Z").plus(FINAL)

    def _step(
        self, kind: str, what: Mapping[str, Any], faults: Iterable[Fault] = (), beside: Iterable[Step] = ()
    ) -> Step:
        self._at = self._at.plus(timedelta(seconds=self._random.randrange(1, 120)))
        return Step(next(self._numbers), str(self._at), kind, what, tuple(faults), tuple(beside))

    def _listings(self) -> list[Step]:
        """Return what is known of listings before the story begins."""
        if self._random.random() >= 0.25:
            return []
        names = [symbol.symbol for symbol in self._symbols]
        kind, what = drawn_listing(self._random, names, self._dates[self._first : self._first + 12])
        return [self._step(kind, what)]

    def _before_all(self) -> list[Step]:
        """Sometimes somebody looks before anything is stored."""
        if self._random.random() >= 0.15:
            return []
        return [self._step(self._random.choice(("verify", "coverage", "load", "status", "plan", "recover")), {})]

    def _day(self, day: int) -> list[Step]:
        drawn = self._noon(day)
        self._at, self._has_asked = self._evening(day), False
        drawn += self._ends()
        drawn += self._changes_of(day)
        commands = [weighted(self._random, self._commands) for _ in range(self._count(self._busy))]
        commands.insert(0 if self._random.random() < 0.6 else len(commands), "update")
        for command in commands:
            drawn += self._command_with_sequel(command, day)
        if self._random.random() < self._scenes:
            names = [symbol.symbol for symbol in self._symbols]
            recent = self._dates[max(self._first, day - 5) : day + 1]
            parts = drawn_scene(self._random, names, recent)
            drawn += [self._step(part.kind, part.what, part.faults) for part in parts]
        if self._random.random() < self._events:
            drawn += self._event(day)
        return drawn

    def _noon(self, day: int) -> list[Step]:
        """Sometimes somebody asks for the session while it goes on."""
        if self._random.random() >= 0.15:
            return []
        date, hour, minute = self._dates[day], self._random.randrange(15, 21), self._random.randrange(60)
        self._at = Timestamp.parse(f"{date}T{hour}:{minute:02d}:00Z")
        step = self._command(self._random.choice(AT_NOON), day)
        return [evolve(step, what={**step.what, "end": date}) if step.kind in WITH_AN_END else step]

    def _recent(self, day: int) -> list[str]:
        return self._dates[max(self._first - 4, day - 5) : day + 1]

    def _count(self, mean: float) -> int:
        return int(mean) + (self._random.random() < mean - int(mean))

    def _ends(self) -> list[Step]:
        """End what has lasted since a day before, more often than not."""
        over = [kind for kind in self._standing if self._random.random() < 0.7]
        self._standing = [kind for kind in self._standing if kind not in over]
        return [self._over(kind) for kind in over]

    def _over(self, kind: str) -> Step:
        return self._step(ENDS[kind], {})

    def _changes_of(self, day: int) -> list[Step]:
        drawn = list[Step]()
        if self._random.random() < self._changes:
            names = [symbol.symbol for symbol in self._symbols]
            coming, later = self._dates[day + 1 : day + 13], [str(self._evening(day + more)) for more in (1, 2, 4)]
            kind, what = drawn_change(self._random, names, self._recent(day), coming, later)
            self._is_unofficial = kind in UNOFFICIAL
            drawn.append(self._step(kind, what))
        return drawn

    def _command_with_sequel(self, kind: str, day: int) -> list[Step]:
        """Return a command; after one that is killed, sometimes power is lost, and sometimes somebody looks at once.

        Power is also lost when a command has only just ended: what it has reported must be durable.
        """
        step = self._command(kind, day)
        if not any(fault.kind == "kill" for each in step.all() for fault in each.faults):
            is_lost = kind in CHANGES_FILES and self._random.random() < self._events / (3 if kind in FIRST else 1)
            return [step, self._step("power loss", {})] if is_lost else [step]
        sequel = [self._step("power loss", {})] if self._random.random() < 0.5 else []
        if self._random.random() < 0.5:
            sequel.append(self._command(self._random.choice(("verify", "load", "update", "coverage")), day))
        return [step, *sequel]

    def _command(self, kind: str, day: int) -> Step:
        faults, usual = self._faults(kind), self._usual(kind)
        self._has_asked |= kind in FIRST
        beside = list[Step]()
        while self._random.random() < self._beside and len(beside) < 2:
            beside.append(self._one_beside(day))
        if beside and not self._rates.is_calm and self._random.random() < 0.3:
            faults = (*faults, *self._paused(usual))
            if self._usual(beside[0].kind).get("open", NEVER).sure:
                beside[0] = evolve(beside[0], faults=(*beside[0].faults, LATE_TO_OPEN))
        return self._step(kind, self._what(kind, day), faults, beside)

    def _one_beside(self, day: int) -> Step:
        """Return a command for the same time. Two updates exclude one another; other writers meet in one folder."""
        kind = weighted(self._random, self._commands)
        if kind == "update" and self._random.random() < 0.7:
            kind = "ingest"
        what = self._what(kind, day)
        if kind in ASKING and self._random.random() < 0.5:
            start = max(bisect_left(self._dates, self._traits.start), day - self._random.randrange(4))
            what |= {"symbols": self._random.choice(self._symbols).symbol, "start": self._dates[start]}
        return self._step(kind, what, self._faults(kind))

    def _paused(self, usual: Counted) -> list[Fault]:
        """Let a command wait while its files take their places: otherwise nobody beside it sees that moment."""
        calls = [call for call in ("fsync", "replace") if usual.get(call, NEVER).sure]
        if not calls:
            return []
        call = self._random.choice(calls)
        # Those beside it do a part of its work: it seldom makes all of the calls that it makes alone.
        return [Fault("pause", call, self._random.randint(1, (usual[call].sure + 1) // 2), "5")]

    def _usual(self, kind: str) -> Counted:
        return usual_calls(kind, is_first=not self._has_asked, symbols=len(self._symbols))

    def _faults(self, kind: str) -> tuple[Fault, ...]:
        is_first, symbols = not self._has_asked, len(self._symbols)
        found = drawn_faults(self._random, self._rates, kind, is_first=is_first, symbols=symbols)
        if found or self._rates.is_calm or not (self._is_unofficial and kind in ASKING and is_first):
            return found
        nth = self._random.randrange(1, 4)
        return (Fault("wire", "GET", nth, self._random.choice(LIES)),) if self._random.random() < 0.4 else ()

    def _what(self, kind: str, day: int) -> dict[str, Any]:
        """Return what a command names: those that go through the whole store, the last sessions of long stories."""
        random, what = self._random, dict[str, Any]()
        names = [symbol.symbol for symbol in self._symbols]
        if kind == "drop" or (kind in ASKING and len(names) > 1 and random.random() < 0.15):
            what["symbols"] = random.choice(names)
        if kind.startswith("audit"):
            start = bisect_left(self._dates, self._traits.start)
            what["start"] = self._dates[max(start, day - random.randrange(1, 6))]
        if kind == "load as of":
            what["as_of"] = str(self._at.plus(-timedelta(hours=random.choice((0, 1, 24, 25, 49, 72, 130)))))
        if kind == "load aggregate":
            what["timeframe"] = random.choice(("5m", "15m", "1h", "1d"))
            what |= {"source": "minutes"} if what["timeframe"] == "1d" else {}
        if kind == "load official":
            what |= {"timeframe": "1d", "source": "official"}
        if kind == "aggregate" and random.random() < 0.4:
            what["timeframes"] = random.choice(("2m", "30m,1d", "1m"))
        return what

    def _event(self, day: int) -> list[Step]:
        """Return what happens to the machine, with a look at the store more often than not."""
        random, kind = self._random, weighted(self._random, EVENTS)
        what: dict[str, Any] = {"area": random.choice(AREAS)} if kind in ("rot", "file lost", "something else") else {}
        if kind == "something else":
            what["by"] = random.choice(PLACED)
        if kind == "rewritten" and random.random() < 0.4:
            what["area"] = "revisions"
        if what.get("area") == "revisions" and random.random() < 0.6:
            what["file"] = "known_since"
        if kind == "folder moved":
            what["symbol"] = random.choice(self._symbols).symbol
        if kind == "disk full":
            what["bytes"] = random.choice((0, 3_000, 30_000))
        if kind == "clock":
            what |= random.choice(_CLOCKS)
        if kind in ENDS and kind not in self._standing:
            self._standing.append(kind)
        drawn = [self._step(kind, what)]
        if random.random() < 0.6:
            drawn.append(self._command(random.choice(("verify", "update", "coverage", "ingest")), day))
        return drawn

    def _calm_day(self, day: int) -> list[Step]:
        self._at = max(self._at, self._evening(day))
        look: Sequence[str] = ("verify", "coverage", "load")
        return [self._step("update", {}), self._step(look[day % len(look)], {})]


LATE_TO_OPEN: Final = Fault("pause", "open", 1, "3")
_CLOCKS: Final = (
    {"ahead": 3_600.0},
    {"ahead": -3_600.0},
    {"ahead": 90.0},
    {"ahead": 86_400.0 * 3},
    {"ahead": -86_400.0 * 2},
    {"stands": True},
)
