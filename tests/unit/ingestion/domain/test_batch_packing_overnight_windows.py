from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from marketpipe.ingestion.domain.batch_packing import OvernightWindow, overnight_windows
from marketpipe.shared_kernel.domain.bars_request import AskedSession
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.trading_date import SessionHours
from marketpipe.testing import sessions

EARLY, LATE = SessionHours.EARLY, SessionHours.LATE
ASKED = [AskedSession(session, session.extended, True) for session in sessions("2024-03-06", "2024-03-14")]
LACKING = st.dictionaries(
    st.sampled_from([Symbol(name) for name in ("A", "B", "C", "D", "E")]),
    st.dictionaries(st.integers(0, len(ASKED) - 1), st.sampled_from([EARLY, LATE, EARLY | LATE]), min_size=1),
)


def parts(found: list[OvernightWindow]) -> Counter[tuple[str, str, SessionHours]]:
    return Counter(
        (str(symbol), str(asked.trading_date), asked.hours)
        for window in found
        for symbol in window.symbols
        for asked in window.sessions
    )


@given(LACKING, st.integers(1, 3))
def test_every_lacking_part_is_in_exactly_one_window_and_nothing_else_is(
    lacking: dict[Symbol, dict[int, SessionHours]], most: int
) -> None:
    found = list(overnight_windows(lacking, ASKED, most))

    wanted = Counter(
        (str(symbol), str(ASKED[position].trading_date), part)
        for symbol, positions in lacking.items()
        for position, hours in positions.items()
        for part in (EARLY, LATE)
        if part in hours
    )
    assert parts(found) == wanted
    assert all(1 <= len(window.symbols) <= most for window in found)


@given(LACKING)
def test_no_window_reaches_into_a_regular_session(lacking: dict[Symbol, dict[int, SessionHours]]) -> None:
    for window in overnight_windows(lacking, ASKED, 10):
        start, end = window.sessions[0].window.start, window.sessions[-1].window.end
        for asked in ASKED:
            assert end <= asked.session.opens or start >= asked.session.closes


def test_one_request_serves_the_hours_after_a_close_and_before_the_next_open() -> None:
    (window,) = overnight_windows({Symbol("A"): {0: LATE, 1: EARLY}}, ASKED, 10)

    assert [str(asked.trading_date) for asked in window.sessions] == ["2024-03-06", "2024-03-07"]
    assert [asked.hours for asked in window.sessions] == [LATE, EARLY]
