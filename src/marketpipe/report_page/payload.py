"""The facts as the script of the page reads them: JSON, with the columns of all symbol-days packed as text.

Text that came from outside is made visible here, as on a terminal; the template and the script escape it.
"""

from __future__ import annotations

import base64
import math
import zlib
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any, Final

import numpy as np
import pyarrow as pa

from marketpipe.ingestion.domain.coverage.halts import TradingHalt
from marketpipe.ingestion.domain.coverage.verdict import Evidence, Gap, Verdict
from marketpipe.ingestion.domain.restatement import Restatement
from marketpipe.report_page.embedded_days import Array, planes
from marketpipe.report_page.facts import StoreFacts
from marketpipe.report_page.measures import PRICES
from marketpipe.reports import CoverageReport
from marketpipe.shared_kernel.domain.secret_text import visible
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.storage.domain.store_survey import QualitySurvey, RestatedDay, TimeframeFreshness

READ_COPIES: Final = "1m, read copies"
MOST_GAPS: Final = 100_000
MOST_LOST: Final = 1_000
MOST_CELLS_WITH_PRICES: Final = 1_500_000
RAW_LENGTH: Final = 2_000
NUMBERS: Final = ("open", "high", "low", "close", "volume", "trade_count", "vwap")
MEANINGS: Final = {
    "complete": "requested after the session was final, and stored completely",
    "empty": "requested after the session was final; the provider had no bars",
    "partial": "requested before the session was final, or for fewer hours than are wanted",
    "missing": "never requested, or failed, or its file is gone",
    "suspect": "stored, but something is wrong or unlikely; the gaps say what",
    "short": "the provider repeated its answer and has no more; the evidence is against it",
    "unlisted": "before the first bars of the symbol or after its last; the provider had none",
    "pending": "not requested, and the session is not final yet",
}
EVIDENCE: Final = {
    "nothing": "the provider's answer alone: nothing was found to compare it with",
    "official": "the exchange's official day, which the provider publishes apart from the minutes",
    "neighbours": "the symbol's own sessions before and after",
    "market": "the other symbols of the store in the same session",
    "record": "what was recorded of requests and files",
}
"""What a verdict rests on; several, such as official+neighbours, are possible."""
PROBLEMS: Final = (Verdict.MISSING, Verdict.PARTIAL, Verdict.SUSPECT)
"""A store that has one of them is not complete."""
Json = dict[str, Any]


def payload(facts: StoreFacts, *, live: bool = False) -> Json:
    """Return what the script reads. ``live``: it asks the server for newer facts, and for bars."""
    report, embedded = facts.coverage, [] if live else list(facts.days.packed)
    return {
        "live": live,
        "store": visible(facts.place),
        "dataset": None if report.identity is None else visible(str(report.identity)),
        "session": str(report.session),
        "made_at": str(facts.made_at),
        "version": version("marketpipe"),
        "first": str(report.first),
        "last": str(report.last),
        "complete": report.ok,
        "meanings": MEANINGS,
        "verdicts": [str(verdict) for verdict in Verdict],
        "evidence": [str(Evidence(value)) for value in range(16)],
        "evidence_meanings": EVIDENCE,
        "counts": facts.counts(),
        "totals": _totals(facts),
        "symbols": [visible(str(symbol.symbol)) for symbol in report.symbols],
        "dates": [str(date) for date in report.dates],
        "hours": _hours(report),
        "gaps": _gaps([gap for symbol in report.symbols for gap in (*symbol.gaps(), *symbol.notes())], report),
        "lost": [visible(path) for path in report.lost[:MOST_LOST]],
        "jobs": [_job(facts, number) for number in range(len(facts.jobs))],
        "rejected": _quality(facts.rejected),
        "broken": _quality(facts.broken),
        "restated": {"found": facts.restated.found, "days": [_restated(day) for day in facts.restated.days]},
        "aggregates": [_freshness(each) for each in facts.aggregates],
        "columns": {name: packed(column) for name, column in _columns(facts).items()},
        "embedded": {
            "cells": packed(np.array(embedded, np.int32)),
            "count": len(embedded),
            "stored": facts.days.stored,
        },
    }


def _columns(facts: StoreFacts) -> Mapping[str, Array]:
    """Return the columns that the page has: of very many symbol-days, none of official prices, which pack badly."""
    if facts.columns["verdicts"].size <= MOST_CELLS_WITH_PRICES:
        return facts.columns
    return {name: column for name, column in facts.columns.items() if name not in PRICES}


def packed(column: Array) -> Json:
    """Return a column as base64 of its compressed bytes, little-endian; all first bytes, then all second ones.

    Whole numbers take as few bytes as they need.
    """
    if column.dtype.kind != "f" and column.size:
        low, high = int(column.min()), int(column.max())
        kinds = ("u1", "i2", "i4") if low >= 0 else ("i2", "i4")
        kind = next(k for k in kinds if np.iinfo(k).min <= low and high <= np.iinfo(k).max)
        column = column.astype(f"<{kind}")
    elif column.dtype.kind == "f" and np.isnan(column).all():
        return {"kind": "nothing"}
    name = f"{column.dtype.kind}{column.dtype.itemsize}"
    return {"kind": name, "data": base64.b64encode(zlib.compress(planes(column), 6)).decode()}


def _totals(facts: StoreFacts) -> Json:
    report = facts.coverage
    return {
        "symbols": len(report.symbols),
        "sessions": len(report.dates),
        "symbol_days": len(report.symbols) * len(report.dates),
        "bars": sum(symbol.bars for symbol in report.symbols),
        "problems": sum(map(report.count, PROBLEMS)),
        "rejected": sum(symbol.rejected for symbol in report.symbols),
        "restated": facts.restated.found,
        "stale": sum(each.stale + each.absent for each in facts.aggregates),
        "lost": len(report.lost),
    }


def _hours(report: CoverageReport) -> Json:
    """Return the regular hours of each session in minutes after 04:00, and the halts as texts."""
    sessions = report.symbols[0].grid.sessions if report.symbols else ()
    halts = [
        [number, _minutes_of(halt), sorted(map(str, halt.symbols))]
        for number, item in enumerate(sessions)
        for halt in item.halts
    ]
    return {"opens": [item.opens for item in sessions], "lengths": [item.length for item in sessions], "halts": halts}


def _minutes_of(halt: TradingHalt) -> list[int]:
    """Return its first minute, and the first after it, counted from 04:00."""
    return [(moment.hour - 4) * 60 + moment.minute for moment in (halt.start, halt.end)]


def _gaps(gaps: Sequence[Gap], report: CoverageReport) -> Json:
    """Return columns of gaps, and of complete days with a note. A reason that many share is stated once."""
    symbols = {symbol.symbol: number for number, symbol in enumerate(report.symbols)}
    dates = {date: number for number, date in enumerate(report.dates)}
    reasons = dict[tuple[str, str], int]()
    rows = list[tuple[int, int, int, int, int, int, int, str]]()
    for gap in gaps[:MOST_GAPS]:
        finding = gap.finding
        reason = str(finding.suspicion or ""), visible(finding.detail or "")
        place = dates.get(gap.first, -1), dates.get(gap.last, -1)
        verdict = list(Verdict).index(finding.verdict)
        number = reasons.setdefault(reason, len(reasons))
        rows.append(
            (symbols[gap.symbol], *place, gap.sessions, verdict, finding.evidence.value, number, str(gap.first))
        )
    names = ("symbol", "first", "last", "sessions", "verdict", "evidence", "reason")
    found: Json = {name: [row[number] for row in rows] for number, name in enumerate(names)}
    strays = {number: row[-1] for number, row in enumerate(rows) if row[1] < 0}
    return {**found, "reasons": [list(reason) for reason in reasons], "strays": strays, "all": len(gaps)}


def _job(facts: StoreFacts, number: int) -> Json:
    job = facts.jobs[number]
    return {
        **{name: getattr(job, name) for name in ("job_id", "state", "started_at", "finished_at", "symbols")},
        **{name: getattr(job, name) for name in ("planned", "done", "failed")},
        "first": str(job.first),
        "last": str(job.last),
    }


def _quality(found: QualitySurvey) -> Json:
    rows = pa.table(found.examples)
    return {
        "rules": [{**each.key._asdict(), "bars": each.bars, "symbol_days": each.symbol_days} for each in found.counts],
        "examples": [_example(row) for row in rows.to_pylist()],
        "read": found.read,
        "all": found.all_days,
        "unreadable": [visible(text) for text in found.unreadable],
    }


def _example(row: Json) -> Json:
    texts = ("symbol", "rule", "severity", "kind", "reason", "raw")
    date, moment = row["trading_date"], row["timestamp"]
    return {
        **{name: visible(str(row[name]))[:RAW_LENGTH] for name in texts if row[name] is not None},
        "date": None if date is None else str(date),
        "time": None if moment is None else moment.isoformat().replace("+00:00", "Z"),
        "values": [_number(row[name]) for name in NUMBERS],
    }


def _number(value: float | int | None) -> float | int | str | None:
    """Return a number that JSON can hold, or the name of one that it cannot."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _restated(day: RestatedDay) -> Json:
    found, restatement = day.comparison, Restatement.of(day.comparison)
    kind = "withdrawn" if restatement.is_withdrawn else str(restatement.kind)
    return {
        "symbol": str(found.symbol_day.symbol),
        "date": str(found.symbol_day.trading_date),
        "since": str(day.since),
        "until": None if day.until is None else str(day.until),
        "kind": "cannot be compared" if found.error else kind,
        "error": None if found.error is None else visible(found.error),
        "ratio": restatement.ratio,
        "move": _number(found.largest_move),
        **{name: getattr(found, name) for name in ("unchanged", "changed", "added", "removed")},
    }


def _freshness(each: TimeframeFreshness) -> Json:
    numbers = {name: getattr(each, name) for name in ("fresh", "stale", "absent")}
    title = READ_COPIES if each.timeframe is Timeframe.MINUTE_1 else str(each.timeframe)
    return {"timeframe": title, **numbers, "names": list(map(list, each.names.items()))}
