"""Make a large store in little time and space: a few files with many hard links, and invented checkpoints.

State and folders look as after an ingestion. The bars in the files do not: use it only for what does not read bars.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pyarrow as pa

from marketpipe import DatasetIdentity, SessionHours, SessionKind, StoredSymbolDay, Symbol, SymbolDay, Timeframe
from marketpipe.ingestion.domain.ingestion_checkpoint import Answer
from marketpipe.ingestion.infrastructure.sqlite_state import SQLiteState
from marketpipe.provider_registry import closing_auction_of
from marketpipe.shared_kernel.domain.ohlcv_bar import DayFigures
from marketpipe.shared_kernel.domain.store_inventory import RecordedVersion
from marketpipe.shared_kernel.domain.symbol import Outcome, SymbolDayOutcome
from marketpipe.shared_kernel.domain.timestamp import MICROS_PER_MINUTE, Timestamp
from marketpipe.shared_kernel.domain.trading_date import DaysOfYear, TradedMinutes, TradingSession
from marketpipe.shared_kernel.events import StoredOfficialYear
from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA
from marketpipe.storage.domain.storage_metadata import StorageMetadata
from marketpipe.storage.infrastructure.aggregates.aggregate_files import aggregate_files, years_between
from marketpipe.storage.infrastructure.aggregates.year_freshness import YearFreshness
from marketpipe.storage.infrastructure.day_versions import file_mark
from marketpipe.storage.infrastructure.parquet_files import ParquetWriter, sha256
from marketpipe.storage.infrastructure.store_layout import StoreLayout

IDENTITY = DatasetIdentity("alpaca", "iex", "raw")
FOLDERS = MappingProxyType(
    {
        "output_path": "data",
        "aggregates_path": "aggregates",
        "quarantine_path": "quarantine",
        "revisions_path": "revisions",
        "state_path": "state/marketpipe.sqlite",
    }
)
"""The folders below the root, by configuration key."""
SINCE = Timestamp(datetime(2025, 6, 1, tzinfo=UTC))
LINKS_A_FILE = 60_000  # ext4 allows 65,000


def make_store(
    root: Path,
    symbols: Sequence[Symbol],
    sessions: Sequence[TradingSession],
    timeframes: Sequence[Timeframe] = (),
    *,
    official: bool = False,
) -> None:
    """Make the store below ``root``. Every other symbol is thin: it traded in 30 % of the minutes.

    ``official``: also with official days, with which the minutes agree but for half a per cent of the volume.
    """
    content = _content(symbols[0], sessions[0])
    state, links, source = SQLiteState(root / FOLDERS["state_path"], "../data"), LINKS_A_FILE, root / "source"
    state.bind_dataset(IDENTITY, SessionKind.EXTENDED)
    random = np.random.default_rng(7)
    for number, symbol in enumerate(symbols):
        answers, price = list[Answer](), random.uniform(5, 500)
        for session in sessions:
            price *= random.normal(1, 0.015)
            if links == LINKS_A_FILE:
                links, source = 0, root / f"source-{number}"
                source.write_bytes(content)
                os.utime(source, ns=(SINCE.epoch_micros * 1000,) * 2)
            links += 1
            day = SymbolDay(symbol, session.trading_date)
            _link(source, root / FOLDERS["output_path"], day)
            answers.append(_answer(day, session, random, 1.0 if number % 2 else 0.3, price, content))
        state.checkpoints.record(1, SINCE, answers)
        if official:
            _make_official_days(root, state, symbol, answers, random)
        _make_aggregates(root, symbol, timeframes, content)
    state.close()


def _make_official_days(
    root: Path, state: SQLiteState, symbol: Symbol, answers: Sequence[Answer], random: np.random.Generator
) -> None:
    layout, years = StoreLayout(*(root / folder for folder in list(FOLDERS.values())[:4])), list[StoredOfficialYear]()
    stored = [day for _, _, day in answers if day is not None and day.figures is not None]
    for year, some in groupby(stored, lambda day: day.symbol_day.trading_date.day.year):
        days = list(some)
        dates = [day.symbol_day.trading_date for day in days]
        bars = [_official_bar(day, random) for day in days]
        content = ParquetWriter("zstd").encode_bars(pa.Table.from_pylist(bars, schema=BAR_SCHEMA), {})
        path = layout.official_days(symbol, year)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        os.utime(path, ns=(SINCE.epoch_micros * 1000,) * 2)
        version = RecordedVersion(file_mark(len(content), SINCE.epoch_micros * 1000), SINCE, sha256(content))
        years.append(StoredOfficialYear(symbol, year, DaysOfYear.of(year, dates), version=version))
    state.official_years.record(SINCE, years)


def _official_bar(day: StoredSymbolDay, random: np.random.Generator) -> dict[str, object]:
    figures = day.figures or DayFigures()
    prices = {"open": figures.open, "high": figures.high, "low": figures.low, "close": figures.auction_open}
    volume = figures.total_volume / float(random.normal(1.02, 0.005))
    return {"timestamp": day.symbol_day.trading_date.midnight.moment, **prices, "volume": volume}


def _make_aggregates(root: Path, symbol: Symbol, timeframes: Sequence[Timeframe], content: bytes) -> None:
    """Write files with the fingerprint of the minutes that exist."""
    layout = StoreLayout(*(root / folder for folder in list(FOLDERS.values())[:4]))
    for year, wanted in years_between(layout, symbol, None, None):
        minutes = YearFreshness(layout, year, timeframes, closing_auction=closing_auction_of(IDENTITY))
        for file in aggregate_files(layout, year, wanted, timeframes):
            Path(file.path).parent.mkdir(parents=True, exist_ok=True)
            Path(file.path).write_bytes(content)
            os.utime(file.path, ns=(minutes.fingerprint(file),) * 2)


def _link(source: Path, data: Path, day: SymbolDay) -> None:
    year, month, number = str(day.trading_date).split("-")
    folder = data / f"symbol={day.symbol}" / f"year={year}" / f"month={month}"
    folder.mkdir(parents=True, exist_ok=True)
    os.link(source, folder / f"day={number}.parquet")


def _answer(
    day: SymbolDay, session: TradingSession, random: np.random.Generator, liquidity: float, price: float, content: bytes
) -> Answer:
    length = (session.closes.epoch_micros - session.opens.epoch_micros) // MICROS_PER_MINUTE
    traded = np.zeros(960, np.uint8)
    traded[330 : 330 + length] = random.random(length) < liquidity
    minutes = TradedMinutes(np.packbits(traded, bitorder="little").tobytes().rstrip(b"\0"))
    stored = StoredSymbolDay(
        day,
        len(minutes),
        0,
        True,
        session.opens,
        session.closes,
        len(content),
        sha256(content),
        minutes=minutes,
        known_since=SINCE,
        mark=file_mark(len(content), SINCE.epoch_micros * 1000),
        figures=_figures(330 + length, price, random.uniform(1e6, 2e6)),
    )
    outcome = SymbolDayOutcome(day, Outcome.COMPLETE, len(minutes))
    return outcome, SessionHours.EXTENDED, stored


def _figures(closes: int, price: float, volume: float) -> DayFigures:
    prices = {"open": price, "high": price * 1.02, "low": price * 0.99, "close": price * 1.01}
    volumes = {"volume": volume * 0.9, "late_volume": volume * 0.1, "auction_volume": volume * 0.08}
    return DayFigures(330, closes, 330, 330, **prices, **volumes, auction_open=price * 1.01)


def _content(symbol: Symbol, session: TradingSession) -> bytes:
    bar = dict.fromkeys(BAR_SCHEMA.names, 1) | {"timestamp": SINCE.moment}
    label = StorageMetadata(IDENTITY, symbol, str(session.trading_date), Timeframe.MINUTE_1, 1)
    return ParquetWriter("zstd").encode_bars(pa.Table.from_pylist([bar], schema=BAR_SCHEMA), label.as_mapping())
