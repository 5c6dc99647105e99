from __future__ import annotations

from statistics import median

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketpipe.integration.infrastructure.synthetic.synthetic_client import synthetic_day
from marketpipe.shared_kernel.domain.ohlcv_bar import INVARIANTS
from marketpipe.shared_kernel.domain.predicate import holds
from marketpipe.shared_kernel.domain.symbol import Symbol, SymbolDay
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.shared_kernel.domain.trading_date import TradingSession
from marketpipe.shared_kernel.infrastructure.arrow_bars import BAR_SCHEMA
from marketpipe.testing import sessions
from tests.support.examples import examples

YEAR = sessions("2024-01-02", "2024-12-31")
SYMBOLS = [Symbol(name) for name in ("AAPL", "BRK.B", "F", "IBM", "MSFT", "TSLA", "Z9")]


def day(session: TradingSession, symbol: Symbol = SYMBOLS[0], seed: int = 7) -> pa.Table:
    return synthetic_day(seed, SymbolDay(symbol, session.trading_date), session)


@examples(30)
@given(session=st.sampled_from(YEAR), symbol=st.sampled_from(SYMBOLS), seed=st.integers(-5, 2**40))
def test_every_bar_satisfies_every_invariant(session: TradingSession, symbol: Symbol, seed: int) -> None:
    table = day(session, symbol, seed)
    assert table.schema.equals(BAR_SCHEMA)
    rows = table.set_column(0, "timestamp", table["timestamp"].cast(pa.int64())).to_pylist()
    assert [(name, row) for row in rows for name, rule in INVARIANTS.items() if not holds(rule, row)] == []
    assert all(row["low"] <= row["vwap"] <= row["high"] for row in rows)
    assert all(row["trade_count"] >= 1 and row["volume"] >= row["trade_count"] for row in rows)
    assert all(None not in row.values() for row in rows)


@examples(20)
@given(session=st.sampled_from(YEAR), symbol=st.sampled_from(SYMBOLS))
def test_minutes_ascend_within_the_extended_day(session: TradingSession, symbol: Symbol) -> None:
    stamps = day(session, symbol)["timestamp"].cast(pa.int64()).to_numpy()
    assert (np.diff(stamps) >= 60_000_000).all()
    assert session.extended.contains(Timestamp.from_epoch_micros(int(stamps[0])))
    assert session.extended.contains(Timestamp.from_epoch_micros(int(stamps[-1])))


@examples(20)
@given(session=st.sampled_from(YEAR), symbol=st.sampled_from(SYMBOLS))
def test_prices_are_in_whole_cents(session: TradingSession, symbol: Symbol) -> None:
    table = day(session, symbol)
    for name in ("open", "high", "low", "close"):
        prices = table[name].to_pylist()
        assert prices == [round(price, 2) for price in prices]


@pytest.mark.parametrize("date", ["2024-03-12", "2024-07-03"])
def test_volume_is_a_u_over_the_regular_session_and_a_trickle_around_it(date: str) -> None:
    """On a half day too, where the close is at 13:00."""
    (session,) = sessions(date, date)
    opens, closes = session.regular.start.epoch_micros, session.regular.end.epoch_micros
    tenth = (closes - opens) // 10
    volumes: dict[str, list[float]] = {"first": [], "middle": [], "last": [], "around": []}
    for symbol in SYMBOLS:
        table = day(session, symbol)
        for stamp, volume in zip(
            table["timestamp"].cast(pa.int64()).to_pylist(), table["volume"].to_pylist(), strict=True
        ):
            tenths = (stamp - opens) // tenth
            part = {0: "first", 4: "middle", 5: "middle", 9: "last"}.get(tenths)
            if part or not 0 <= tenths < 10:
                volumes[part or "around"].append(volume)
    typical = {part: median(found) for part, found in volumes.items()}
    assert typical["first"] > 2 * typical["middle"]
    assert typical["last"] > 2 * typical["middle"]
    assert typical["middle"] > 5 * typical["around"]


def test_a_price_goes_on_from_one_day_to_the_next() -> None:
    for symbol in SYMBOLS:
        closes = [day(session, symbol)["close"].to_pylist()[-1] for session in YEAR[:40]]
        opens = [day(session, symbol)["open"].to_pylist()[0] for session in YEAR[:40]]
        overnight = [abs(later / earlier - 1) for earlier, later in zip(closes, opens[1:], strict=False)]
        assert max(overnight) < 0.03
        assert len(set(closes)) > 1


def test_symbols_have_prices_and_volumes_of_their_own() -> None:
    tables = [day(YEAR[0], symbol) for symbol in SYMBOLS]
    levels = [round(median(table["close"].to_pylist())) for table in tables]
    assert len(set(levels)) == len(SYMBOLS)
    assert max(levels) > 2 * min(levels)
    sparsest, fullest = min(map(len, tables)), max(map(len, tables))
    assert 250 < sparsest < fullest < 960
