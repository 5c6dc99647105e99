"""A small store with something in every view of the report page: gaps, rejected and warned bars, a restated day."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from marketpipe.pipeline import Pipeline
from marketpipe.testing import FakeClock, bar
from tests.support.pipeline_ring import FRIDAY, THURSDAY, TUESDAY, WEDNESDAY, config, minutes, pipeline
from tests.support.scripted_provider import Row, ScriptedProvider

HOSTILE: Final = "</script><script>window.hacked=1</script><img src=x onerror=window.hacked=1>&\"'\u2028\u202e"
SYMBOLS: Final = ("AAPL", "BRK.B", "MSFT")
DATES: Final = (TUESDAY, WEDNESDAY, THURSDAY, FRIDAY)
AN_HOUR: Final = 3600.0


def official(trading_date: str, rows: Sequence[Row]) -> Row:
    """Return the official day that agrees with these minutes."""
    highest, lowest = max(row["high"] for row in rows), min(row["low"] for row in rows)
    volume = sum(row["volume"] for row in rows)
    day = bar(f"{trading_date}T05:00:00Z", 100.0, high=highest, low=lowest, volume=volume)
    return {**day, "open": rows[0]["open"], "close": rows[-1]["close"], "vwap": None}


def provider() -> ScriptedProvider:
    """BRK.B fails with a hostile reason; AAPL has a bar that is rejected, and one with a vwap that is warned of."""
    prices = dict(zip(SYMBOLS, (100.0, 300.0, 250.0), strict=True))
    bars = {symbol: {date: minutes(date, 40, price=prices[symbol]) for date in DATES} for symbol in SYMBOLS}
    days = {symbol: {date: official(date, bars[symbol][date]) for date in DATES} for symbol in SYMBOLS}
    bars["AAPL"][WEDNESDAY][5] |= {"low": 500.0}
    bars["AAPL"][THURSDAY][7] |= {"vwap": 1.0}
    return ScriptedProvider(bars, official=days, refused={"BRK.B": HOSTILE})


def reported_store(root: Path, source: ScriptedProvider | None = None) -> Pipeline:
    """Return the pipeline of the store below ``root``, after an ingestion, an audit and an adopted restatement."""
    source, clock = source or provider(), FakeClock()
    made = pipeline(config(root, SYMBOLS, TUESDAY, FRIDAY, timeframes=["5m", "1d"]), source, clock)
    made.ingest()
    clock.advance(AN_HOUR)
    source.bars["MSFT"][THURSDAY] = minutes(THURSDAY, 39, price=252.5)
    made.audit("MSFT", start=THURSDAY, end=THURSDAY, adopt=True)
    return made


def facts_in(html: str) -> dict[str, Any]:
    """Return what the page's script would read."""
    import json

    _, _, after = html.partition('<script type="application/json" id="facts">')
    facts: dict[str, Any] = json.loads(after.partition("</script>")[0])
    return facts
