"""The main job as a user runs it: a process, a provider over real HTTP, real files; every bar compared."""

from __future__ import annotations

import random
import shutil
import zoneinfo
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from marketpipe import load_ohlcv
from tests.support.alpaca_loopback import AlpacaLoopback, Record
from tests.support.cli_process import marketpipe, result_of

NEW_YORK = zoneinfo.ZoneInfo("America/New_York")
HALF_DAY = date(2024, 11, 29)
DATES = {
    "before the spring DST change": date(2024, 3, 8),
    "after the spring DST change": date(2024, 3, 11),
    "a day without bars of THIN": date(2024, 3, 12),
    "a half day": HALF_DAY,
    "before the autumn DST change": date(2024, 11, 1),
    "after the autumn DST change": date(2024, 11, 4),
}
HOURS = [time(*wall) for wall in ((4,), (9, 29), (9, 30), (12, 59), (13,), (15, 59), (16,), (18, 59), (19, 59))]


def _bars(symbol: str) -> list[Record]:
    """Some minutes of every day, at the edges of its sessions always; extended hours lie past midnight in UTC."""
    draw = random.Random(symbol)
    records = []
    for name, day in sorted(DATES.items(), key=lambda named: named[1]):
        if symbol == "THIN" and name == "a day without bars of THIN":
            continue
        minutes = {datetime.combine(day, hour, NEW_YORK) for hour in HOURS}
        start = datetime.combine(day, time(4), NEW_YORK)
        minutes |= {start + timedelta(minutes=draw.randrange(960)) for _ in range(40)}
        end = datetime.combine(day, time(17) if day == HALF_DAY else time(20), NEW_YORK)
        records += [_bar(minute.astimezone(UTC), draw) for minute in sorted(minutes) if minute < end]
    return records


def _bar(minute: datetime, draw: random.Random) -> Record:
    prices = sorted(round(draw.uniform(1, 900), draw.choice([0, 2, 6])) for _ in range(4))
    return {
        "t": minute.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "o": prices[1],
        "h": prices[3],
        "l": prices[0],
        "c": prices[2],
        "v": draw.choice([draw.randrange(1, 10**6), 0.125 + draw.randrange(100)]),
        "n": draw.randrange(1, 5000),
        "vw": prices[1],
    }


BARS = {symbol: _bars(symbol) for symbol in ("AAPL", "BRK.B", "THIN")}


def _config(folder: Path, url: str, **more: str) -> Path:
    file = folder / "marketpipe.yaml"
    lines = {
        "provider": "alpaca",
        "symbols": "[AAPL, BRK.B, THIN]",
        "start": "2024-03-08",
        "end": "2024-12-02",
        "timeframes": "[1h, 1d]",
        "alpaca": f'{{feed: sip, base_url: "{url}", rate_limit_per_min: 100000}}',
        **more,
    }
    file.write_text("".join(f"{key}: {value}\n" for key, value in lines.items()))
    return file


@pytest.fixture
def provider() -> Iterator[AlpacaLoopback]:
    with AlpacaLoopback(BARS, page_size=97) as loopback:
        yield loopback


def _expected(symbols: list[str]) -> pa.Table:
    rows = [
        {
            "symbol": symbol,
            "timestamp": datetime.fromisoformat(record["t"]),
            "open": float(record["o"]),
            "high": float(record["h"]),
            "low": float(record["l"]),
            "close": float(record["c"]),
            "volume": float(record["v"]),
            "trade_count": record["n"],
            "vwap": float(record["vw"]),
        }
        for symbol in symbols
        for record in BARS[symbol]
    ]
    return pa.Table.from_pylist(rows)


def test_every_bar_of_every_symbol_arrives_bit_for_bit(tmp_path: Path, provider: AlpacaLoopback) -> None:
    done = marketpipe("ingest", "--config", str(_config(tmp_path, provider.url)), "--json", cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    stored = load_ohlcv(["AAPL", "BRK.B", "THIN"], "2024-03-01", "2024-12-31", root=tmp_path)
    expected = _expected(["AAPL", "BRK.B", "THIN"]).cast(stored.schema)
    assert stored.to_pylist() == expected.to_pylist()
    report = result_of(done)
    assert (report["bars"], report["rejected"], report["failed"]) == (len(expected), 0, 0)
    assert report["requests"] == len(provider.requests) + len(provider.official)


def test_bars_are_stored_under_the_new_york_date_and_not_the_utc_date(tmp_path: Path, provider: AlpacaLoopback) -> None:
    marketpipe("ingest", "--config", str(_config(tmp_path, provider.url)), cwd=tmp_path)

    files = sorted((tmp_path / "data" / "symbol=AAPL").rglob("*.parquet"))
    assert [f"{f.parts[-3]}/{f.parts[-2]}/{f.stem}" for f in files] == [
        f"year={day.year}/month={day.month:02d}/day={day.day:02d}" for day in sorted(DATES.values())
    ]


def test_a_day_without_bars_is_remembered_as_empty_and_a_second_run_asks_nothing(
    tmp_path: Path, provider: AlpacaLoopback
) -> None:
    config = str(_config(tmp_path, provider.url))
    first = result_of(marketpipe("ingest", "--config", config, "--json", cwd=tmp_path))
    asked = len(provider.requests)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.parquet")}

    second = result_of(marketpipe("ingest", "--config", config, "--json", cwd=tmp_path))

    sessions = first["planned"] // 3
    assert first["complete"] == 3 * len(DATES) - 1
    assert first["empty"] == 3 * sessions - first["complete"]
    assert (second["planned"], second["requests"], second["already_settled"]) == (0, 0, 3 * sessions)
    assert len(provider.requests) == asked
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.parquet")} == before


def test_a_regular_session_is_stored_with_the_minute_of_its_auction_alone_half_day_included(
    tmp_path: Path, provider: AlpacaLoopback
) -> None:
    done = marketpipe(
        "ingest", "--config", str(_config(tmp_path, provider.url, session="regular")), "--json", cwd=tmp_path
    )

    assert result_of(done)["rejected"] == 0
    stored = load_ohlcv("AAPL", "2024-03-01", "2024-12-31", root=tmp_path)["timestamp"].to_pylist()
    closes = {day: time(13) if day == HALF_DAY else time(16) for day in DATES.values()}
    moments = [datetime.fromisoformat(record["t"]).astimezone(NEW_YORK) for record in BARS["AAPL"]]
    expected = [m for m in moments if time(9, 30) <= m.time() <= closes[m.date()]]
    assert [moment.astimezone(NEW_YORK) for moment in stored] == expected


def test_a_day_without_an_official_one_is_made_from_the_regular_session_with_its_auction(
    tmp_path: Path, provider: AlpacaLoopback
) -> None:
    marketpipe("ingest", "--config", str(_config(tmp_path, provider.url)), cwd=tmp_path)

    (official,) = load_ohlcv("AAPL", "2024-11-29", "2024-11-29", "1d", root=tmp_path).to_pylist()
    shutil.rmtree(tmp_path / "official")
    daily = load_ohlcv("AAPL", "2024-11-29", "2024-11-29", "1d", root=tmp_path).to_pylist()
    regular = [
        record
        for record in BARS["AAPL"]
        if "2024-11-29T14:30" <= record["t"] < "2024-11-29T18:00"  # 09:30 to 13:00 in New York
    ]
    (minute,) = [record for record in BARS["AAPL"] if record["t"] == "2024-11-29T18:00:00Z"]
    auction = minute["o"]
    assert len(daily) == 1
    assert daily[0]["timestamp"] == datetime(2024, 11, 29, 5, tzinfo=UTC)
    assert (daily[0]["open"], daily[0]["close"]) == (regular[0]["o"], auction)
    assert daily[0]["high"] == max(auction, *(record["h"] for record in regular))
    assert daily[0]["low"] == min(auction, *(record["l"] for record in regular))
    assert daily[0]["volume"] == pytest.approx(sum(record["v"] for record in [*regular, minute]))
    assert (daily[0]["source"], official["source"]) == ("minutes", "official")
    assert official["volume"] == pytest.approx(
        sum(record["v"] for record in BARS["AAPL"] if record["t"].startswith("2024-11-29"))
    )


def test_the_keys_travel_in_headers_and_show_nowhere_else(tmp_path: Path, provider: AlpacaLoopback) -> None:
    done = marketpipe("--debug", "ingest", "--config", str(_config(tmp_path, provider.url)), cwd=tmp_path)

    assert provider.headers[0]["apca-api-key-id"] == "test-key-4711"
    assert provider.headers[0]["apca-api-secret-key"] == "test-secret-0815"
    shown = done.stdout + done.stderr + "".join(map(str, provider.requests))
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert "test-key-4711" not in shown
    assert "test-secret-0815" not in shown
    assert b"test-key-4711" not in written
    assert b"test-secret-0815" not in written
