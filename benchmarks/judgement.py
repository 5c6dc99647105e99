"""Measure how well coverage judges: false suspicions in a drawn market, and how many injected faults it finds.

    python benchmarks/judgement.py [--symbols 500] [--sessions 250] [--faults 175] [--seed 7] [--only KIND]
        [--official-days with|without|both]

Every kind of fault is injected at three severities, with and without official days, into some of the symbols of a
market that is otherwise good. A fault is found if one of its sessions is suspect; a session is falsely suspected if no
fault is in it. Faults that no provider's user could notice (fewer than twenty bars lost in a usual day) are
not counted.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path

import numpy as np
from attrs import Factory, define

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.comparison import parse_options
from benchmarks.drawn_market import DrawnBars, DrawnMarket, characters
from benchmarks.injected_faults import FAULTS, Fault, Injection
from benchmarks.judged_store import StoredSymbol, SymbolReader, judge

from marketpipe.ingestion.domain.coverage.verdict import Finding, Verdict
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.timestamp import MICROS_PER_MINUTE
from marketpipe.shared_kernel.domain.trading_date import TradingDate, TradingSession
from marketpipe.shared_kernel.infrastructure.exchange_calendar import ExchangeCalendar

LAST = TradingDate(date(2024, 12, 31))
APART = 25
"""Sessions between two faults of a symbol."""
VALUES = ("traded", "open", "high", "low", "close", "volume", "official")
SYMBOLS_WITH_FAULTS, SYMBOLS_OF_THE_MARKET = 60, 60


@define
class Trial:
    """The outcome of one kind of fault at one severity: faults, and sessions without one that are suspect."""

    injected: int = 0
    found: int = 0
    false: int = 0
    sessions: int = 0
    missed: list[str] = Factory(list)


@define
class Bench:
    calendar: ExchangeCalendar
    sessions: Sequence[TradingSession]
    market: DrawnMarket
    clean: dict[int, StoredSymbol]
    faults: int
    show: int

    @classmethod
    def of(cls, options: argparse.Namespace) -> Bench:
        calendar = ExchangeCalendar(latest=TradingDate(date(2025, 6, 30)))
        sessions = calendar.sessions(TradingDate(date(2010, 1, 4)), LAST)[-options.sessions :]
        days = [session.trading_date.day for session in sessions]
        minutes = [(s.closes.epoch_micros - s.opens.epoch_micros) // MICROS_PER_MINUTE for s in sessions]
        early = frozenset(day for day, length in zip(days, minutes, strict=True) if length < 390)
        market = DrawnMarket(days, early, characters(options.symbols, options.seed), options.seed)
        reader = SymbolReader.of(sessions, calendar)
        clean = {number: reader.read(market.bars_of(number)) for number in range(options.symbols)}
        return cls(calendar, sessions, market, clean, options.faults, options.show)

    def judge(self, stored: Mapping[int, StoredSymbol], official: bool) -> dict[int, list[Finding]]:
        names = {Symbol(f"S{number:04}"): number for number in stored}
        found = judge(self.calendar, self.sessions, {name: stored[n] for name, n in names.items()}, official)
        return {names[name]: findings for name, findings in found.items()}

    def false_suspicions(self, official: bool) -> None:
        began = time.perf_counter()
        found = self.judge(self.clean, official)
        seconds = time.perf_counter() - began
        suspect = [
            (n, row, f) for n, rows in found.items() for row, f in enumerate(rows) if f.verdict is Verdict.SUSPECT
        ]
        days = len(found) * len(self.sessions)
        print(
            f"  no fault: {len(suspect)} of {days:,} symbol-days falsely suspect, judged in {seconds:.1f} s", flush=True
        )
        for number, row, finding in suspect[: self.show]:
            print(f"    S{number:04} {self.sessions[row].trading_date} {finding.suspicion}: {finding.detail}")

    def trial(self, fault: Fault, severity: float, official: bool) -> Trial:
        random = np.random.default_rng([int(severity * 100), len(self.sessions)])
        numbers = random.permutation(len(self.clean)).tolist()
        trial = Trial()
        common = sorted(random.choice(np.arange(30, len(self.sessions) - 30), 3, replace=False).tolist())
        stored: dict[int, StoredSymbol] = {}
        places: dict[int, list[list[int]]] = {}
        reader = SymbolReader.of(self.sessions, self.calendar)
        for position, number in enumerate(numbers):
            everywhere = fault.common or fault.lasting
            if len(stored) >= SYMBOLS_WITH_FAULTS and (everywhere or trial.injected >= self.faults):
                break
            bars, other = self.market.bars_of(number), self.market.bars_of(numbers[position - 1])
            wanted = self._rows(fault, common, random)
            places[number] = self._inject(fault, severity, bars, other, wanted)
            trial.injected += len(places[number])
            stored[number] = reader.read(bars)
        if not (fault.common or fault.lasting):
            for number in numbers[len(stored) : len(stored) + SYMBOLS_OF_THE_MARKET]:
                stored[number] = self.clean[number]
        self._count(trial, self.judge(stored, official), places, fault)
        return trial

    def _rows(self, fault: Fault, common: list[int], random: np.random.Generator) -> list[list[int]]:
        if fault.lasting:
            return [[row] for row in range(len(self.sessions))]
        if fault.common:
            return [[row] for row in common]
        first = int(random.integers(20, 20 + APART))
        starts = range(first, len(self.sessions) - fault.sessions, APART * max(1, fault.sessions // 2) * 2)
        return [list(range(start, start + fault.sessions)) for start in starts]

    def _inject(
        self, fault: Fault, severity: float, bars: DrawnBars, other: DrawnBars, wanted: list[list[int]]
    ) -> list[list[int]]:
        """Return the rows of the faults that count; those of the others are left as they were."""
        before, injected = bars.traded.copy(), []
        for rows in wanted:
            kept = {name: getattr(bars, name)[rows].copy() for name in VALUES}
            if all(fault.change(Injection(bars, before, row, severity, other)) for row in rows):
                injected.append(rows)
            elif not (fault.common or fault.lasting):
                for name in VALUES:
                    getattr(bars, name)[rows] = kept[name]
        return injected

    def _count(
        self, trial: Trial, found: dict[int, list[Finding]], places: dict[int, list[list[int]]], fault: Fault
    ) -> None:
        for number, findings in found.items():
            suspect = {row for row, finding in enumerate(findings) if finding.verdict is Verdict.SUSPECT}
            faulty = {row for rows in places.get(number, ()) for row in rows}
            for rows in places.get(number, ()):
                trial.found += any(row in suspect for row in rows)
                if not suspect.intersection(rows) and len(trial.missed) < self.show:
                    trial.missed.append(f"S{number:04} {self.sessions[rows[0]].trading_date} {findings[rows[0]]}")
            if not (fault.common or fault.lasting):
                trial.false += len(suspect - faulty)
                trial.sessions += len(findings) - len(faulty)
                strays = [
                    f"false: S{number:04} {self.sessions[r].trading_date} {findings[r]}" for r in suspect - faulty
                ]
                trial.missed += strays[: self.show if len(trial.missed) < 2 * self.show else 0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--symbols", type=int, default=500)
    parser.add_argument("--sessions", type=int, default=250)
    parser.add_argument("--faults", type=int, default=175, help="of each kind and severity")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--only", default="", help="the kinds of faults whose name contains this text")
    parser.add_argument("--show", type=int, default=0, help="show so many of the missed faults and false suspicions")
    parser.add_argument("--official-days", choices=("with", "without", "both"), default="both")
    options = parse_options(parser)
    began = time.perf_counter()
    bench = Bench.of(options)
    print(
        f"{options.symbols} symbols x {options.sessions} sessions drawn in {time.perf_counter() - began:.0f} s",
        flush=True,
    )
    for official in {"with": (True,), "without": (False,), "both": (True, False)}[options.official_days]:
        print(f"\n{'with' if official else 'without'} official days", flush=True)
        bench.false_suspicions(official)
        for kind, fault in FAULTS.items():
            if options.only in kind:
                report(kind, fault, [bench.trial(fault, severity, official) for severity in fault.severities])


def report(kind: str, fault: Fault, trials: list[Trial]) -> None:
    parts = [
        f"{severity:g}: {t.found}/{t.injected} = {t.found / max(1, t.injected):.3f}, {t.false} false of {t.sessions:,}"
        for severity, t in zip(fault.severities, trials, strict=True)
    ]
    print(f"  {kind:22} " + " | ".join(parts), flush=True)
    for trial in trials:
        for line in trial.missed:
            print(f"      {line}")


if __name__ == "__main__":
    main()
