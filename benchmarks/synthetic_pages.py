"""Made-up OHLCV bars in Alpaca's wire format, rendered once and assembled into pages at almost no cost.

A fragment is one session of one variant: its JSON, and the same compressed and flushed to a byte boundary, so that
fragments can be concatenated in one gzip stream. To make a page, join its fragments and compute a checksum.
"""

from __future__ import annotations

import struct
import zlib
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from datetime import date
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import NamedTuple

from marketpipe.shared_kernel.domain.trading_date import TradingSession

MINUTE, DAY = 60, 86_400
EPOCH = date(1970, 1, 1).toordinal()
LEVEL = 3
GZIP_HEAD = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
DEFLATE_END = b"\x03\x00"
KEPT_FRAGMENTS, KEPT_PAGES = 65_536, 256


class Fragment(NamedTuple):
    raw: bytes
    gzipped: bytes


class Page(NamedTuple):
    bars: int
    raw: bytes
    gzipped: bytes


class MinuteGrid:
    """The minutes that have bars, in seconds since 1970, and the index of the first minute of each session."""

    def __init__(self, sessions: Sequence[TradingSession], bars_a_day: int) -> None:
        """A session that is too short has fewer than ``bars_a_day`` minutes."""
        days = [minutes_of(session, bars_a_day) for session in sessions]
        self.minutes = [minute for day in days for minute in day]
        self.bounds = list(accumulate(map(len, days), initial=0))

    def between(self, start: int, end: int) -> tuple[int, int]:
        return bisect_left(self.minutes, start), bisect_right(self.minutes, end)


class SyntheticPages:
    """Every symbol has the minutes of one of the grids in every session, and the prices of one of ``variants``."""

    def __init__(self, sessions: Sequence[TradingSession], bars_a_day: Sequence[int], variants: int = 4) -> None:
        """``bars_a_day`` has a number for each grid; the symbols are spread over the grids."""
        self._variants, self._grids = variants, [MinuteGrid(sessions, count) for count in bars_a_day]
        self._fragment = lru_cache(KEPT_FRAGMENTS)(self._render)
        self.page = lru_cache(KEPT_PAGES)(self._make_page)

    def warm_up(self) -> None:
        """Render every complete session, so that no request has to wait for it."""
        for number, grid in enumerate(self._grids):
            for variant in range(self._variants):
                for first, last in pairwise(grid.bounds):
                    self._fragment(number, variant, first, last)

    def bars_between(self, symbol: str, start: int, end: int) -> int:
        first, last = self._grids[self._grid_of(symbol)].between(start, end)
        return last - first

    def _make_page(self, symbols: tuple[str, ...], start: int, end: int, limit: int, skipped: int) -> Page:
        """``start`` and ``end`` are seconds since 1970, both inclusive. The pages before had ``skipped`` bars."""
        parts, begins, until = [text_fragment('{"bars":{')], 0, skipped + limit
        for symbol in symbols:
            number = self._grid_of(symbol)
            first, last = self._grids[number].between(start, end)
            some = slice(max(skipped - begins, 0), max(min(until - begins, last - first), 0))
            if some.start < some.stop:
                parts.append(text_fragment(f'{"," if len(parts) > 1 else ""}"{symbol}":['))
                parts += self._bars(number, self._variant_of(symbol), first + some.start, first + some.stop)
                parts.append(text_fragment("]"))
            begins += last - first
        token = f'"{until}"' if until < begins else "null"
        return _page(max(0, min(until, begins) - skipped), [*parts, text_fragment(f'}},"next_page_token":{token}}}')])

    def _bars(self, number: int, variant: int, first: int, last: int) -> Iterator[Fragment]:
        """Return the bars from ``first`` to ``last``, exclusive, as fragments: one for each session."""
        bounds = self._grids[number].bounds
        day = bisect_right(bounds, first) - 1
        while first < last:
            end = min(last, bounds[day + 1])
            yield self._fragment(number, variant, first, end)
            first, day = end, day + 1
            if first < last:
                yield text_fragment(",")

    def _render(self, number: int, variant: int, first: int, last: int) -> Fragment:
        minutes = self._grids[number].minutes
        return _fragment(",".join([_record(minutes[each], each, variant) for each in range(first, last)]))

    def _grid_of(self, symbol: str) -> int:
        return zlib.crc32(symbol.encode()[::-1]) % len(self._grids)

    def _variant_of(self, symbol: str) -> int:
        return zlib.crc32(symbol.encode()) % self._variants


def minutes_of(session: TradingSession, count: int) -> list[int]:
    """Return ``count`` minutes spread over the regular session; if it is too short, consecutive minutes around it.

    They are no more than the extended hours have: fewer on a half day, which ends at 17:00.
    """
    opens, closes = (moment.epoch_micros // 1_000_000 for moment in (session.opens, session.closes))
    length = (closes - opens) // MINUTE
    if count <= length:
        return [opens + number * length // count * MINUTE for number in range(count)]
    start, end = (edge.epoch_micros // 1_000_000 for edge in (session.extended.start, session.extended.end))
    longest = (end - start) // MINUTE
    free = longest - min(count, longest)
    begin = start + min(free, max(0, (opens - start) // MINUTE - (count - length) // 2)) * MINUTE
    return [begin + number * MINUTE for number in range(min(count, longest))]


@lru_cache(4096)
def text_fragment(text: str) -> Fragment:
    return _fragment(text)


def _fragment(text: str) -> Fragment:
    deflater, raw = zlib.compressobj(LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS), text.encode()
    return Fragment(raw, deflater.compress(raw) + deflater.flush(zlib.Z_SYNC_FLUSH))


def _page(bars: int, parts: Sequence[Fragment]) -> Page:
    raw = b"".join(part.raw for part in parts)
    check = struct.pack("<LL", zlib.crc32(raw), len(raw) & 0xFFFFFFFF)
    gzipped = b"".join([GZIP_HEAD, *(part.gzipped for part in parts), DEFLATE_END, check])
    return Page(bars, raw, gzipped)


def _record(minute: int, number: int, variant: int) -> str:
    """Return one bar as JSON. Prices move up and down by less than one percent, so that every rule holds."""
    open_ = 5000 + 2500 * variant + number * 7 % 41
    close = open_ + number * 13 % 21 - 10
    high, low = (open_ if open_ > close else close) + 5, (open_ if open_ < close else close) - 5
    hour, second = divmod(minute % DAY, 3600)
    return (
        f'{{"c":{close / 100},"h":{high / 100},"l":{low / 100},"n":{5 + number % 90},"o":{open_ / 100},'
        f'"t":"{_date(minute // DAY)}T{hour:02d}:{second // 60:02d}:00Z","v":{100 + number * 37 % 9000},'
        f'"vw":{(high + low + 2 * close) / 400}}}'
    )


@lru_cache(4096)
def _date(number: int) -> str:
    return str(date.fromordinal(EPOCH + number))
