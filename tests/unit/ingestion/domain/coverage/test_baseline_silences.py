from __future__ import annotations

from itertools import groupby

from hypothesis import given
from hypothesis import strategies as st

from marketpipe.ingestion.domain.coverage.baseline import Silence, longest_silence, silence_at_close, silences


@st.composite
def _minutes(draw: st.DrawFn) -> list[bool]:
    """Whether each minute of a session has a bar; runs of a kind, as real sessions have them."""
    runs = draw(st.lists(st.tuples(st.booleans(), st.integers(1, 60)), min_size=1, max_size=12))
    return [has_bar for has_bar, length in runs for _ in range(length)]


def _bits(minutes: list[bool]) -> int:
    return sum(1 << i for i, has_bar in enumerate(minutes) if has_bar)


def _plain(minutes: list[bool]) -> list[Silence]:
    found, start = [], 0
    for has_bar, run in groupby(minutes):
        length = len(list(run))
        if not has_bar:
            found.append(Silence(start, length, start + length == len(minutes)))
        start += length
    return found


@given(_minutes(), st.integers(1, 40))
def test_silences_are_those_a_plain_walk_finds(minutes: list[bool], least: int) -> None:
    wanted = [silence for silence in _plain(minutes) if silence.length >= least]

    assert list(silences(_bits(minutes), len(minutes), least)) == wanted


@given(_minutes())
def test_the_longest_silence_is_the_longest_of_them(minutes: list[bool]) -> None:
    assert longest_silence(_bits(minutes), len(minutes)) == max((s.length for s in _plain(minutes)), default=0)


@given(_minutes())
def test_the_silence_at_the_close_is_the_one_that_ends_there(minutes: list[bool]) -> None:
    at_close = [silence.length for silence in _plain(minutes) if silence.at_close]

    assert silence_at_close(_bits(minutes), len(minutes)) == sum(at_close)


@given(_minutes(), _minutes())
def test_bars_in_counts_the_other_sessions_bars_in_those_minutes(minutes: list[bool], other: list[bool]) -> None:
    for silence in silences(_bits(minutes), len(minutes), 1):
        assert silence.bars_in(_bits(other)) == sum(other[silence.start : silence.end])
