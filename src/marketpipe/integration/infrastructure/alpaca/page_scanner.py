"""Reads the usual page of bars from its bytes to columns in machine code, without the interpreter's lock.

Importing this module imports Numba, which takes a third of a second of processor time and 100 MB: see ``FastPages``.
The machine code is compiled once for each installation and kept by Numba: in ``__pycache__`` beside this file, or in
the user's cache folder if that cannot be written, or in ``NUMBA_CACHE_DIR``.

The scanner accepts exactly what Alpaca writes: no blanks, no escapes, all eight fields of each bar once, whole seconds
in UTC, numbers without sign and exponent of which a division gives the nearest double. It judges nothing else: of any
other byte it returns that it did not understand, and ``ResponseParser`` reads the page as if this did not exist.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

import numba
import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Int64s = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
F = TypeVar("F", bound=Callable[..., Any])

PADDING: Final = bytes(32)
"""To be put behind a page: zeros fit nowhere, so that no check of a length is needed on the way."""
PADDED: Final = len(PADDING)
SHORTEST_BAR: Final = len('{"c":1,"h":1,"l":1,"n":1,"o":1,"t":"2024-01-02T09:30:00Z","v":1,"vw":1},')
MOST_SYMBOLS: Final = 1_000
"""More than a request has."""
NO: Final = -1
"""In the place of a position: the bytes are not what is expected there."""

QUOTE, COMMA, DOT, COLON, ZERO, DASH = (ord(letter) for letter in '",.:0-')
OPEN, CLOSE, BEGIN, END = (ord(letter) for letter in "{}[]")
LETTER_T, LETTER_V, LETTER_W, LETTER_Z = (ord(letter) for letter in "TvwZ")
HEAD: Final = np.frombuffer(b'{"bars":{', np.uint8)
TAIL: Final = np.frombuffer(b'},"next_page_token":', np.uint8)
NULL: Final = np.frombuffer(b"null}", np.uint8)
OF_NAMES: Final = np.isin(np.arange(256), np.frombuffer(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.", np.uint8))
OF_TOKENS: Final = OF_NAMES | np.isin(np.arange(256), np.frombuffer(b"abcdefghijklmnopqrstuvwxyz+/=|:", np.uint8))
"""Of base64, which Alpaca's tokens are; and no letter that would let the decoder look at the page more closely."""
COLUMNS: Final = np.full(256, NO, np.int64)
"""By the letter of a field: the row of its values in ``prices``; t and n are in ``wholes``. A v may be a vw."""
COLUMNS[[ord(letter) for letter in "ohlcv"]] = range(5)
VOLUME, VWAP, TIME, COUNT = 4, 5, 6, 7
COLUMNS[[ord("t"), ord("n")]] = TIME, COUNT
ALL_FIELDS: Final = 0b1111_1111
LARGEST_TENTH: Final = (2**53 - 10) // 10
"""A number up to here may get another digit: every whole number below 2**53 is a double."""
POWERS: Final = np.array([10.0**exponent for exponent in range(23)])
"""Exact doubles, all of them; so the quotient of two exact ones is the nearest double, as the decoder's is."""
MONTH_LENGTHS: Final = np.array([0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])

compiled: Callable[[F], F] = numba.njit(nogil=True, cache=True, error_model="numpy", _nrt=False)
"""Without Numba's own memory management: nothing is allocated here, and counting references to the arrays, which takes
an atomic operation for each call, would take four fifths of the time. Nothing is divided by zero."""


@compiled
def scan(body: Bytes, prices: Floats, wholes: Int64s, names: Int64s) -> tuple[int, int, int, int]:
    """Fill the columns; return the numbers of bars and symbols, and the first and last position of the token.

    ``body`` ends with ``PADDING``. ``prices`` gets open, high, low, close, volume and vwap, ``wholes`` the time in
    microseconds since 1970 and the trade count; ``names`` the first and the last position (exclusive) of each symbol
    and the number of its bars. The number of bars is -1 if the page is not understood; then nothing else counts. The
    positions of the token are 0 if it is null.
    """
    bars, symbols, at = 0, 0, _expect(body, 0, HEAD)
    while at > 0 and symbols < len(names):
        first = at + 1
        last = _letters(body, first, OF_NAMES) if body[at] == QUOTE else NO
        if last <= first or body[last + 1] != COLON or body[last + 2] != BEGIN:
            return NO, 0, 0, 0
        at, end = _group(body, last + 3, bars, prices, wholes)
        names[symbols, 0], names[symbols, 1], names[symbols, 2] = first, last, end - bars
        bars, symbols = end, symbols + 1
        if at > 0 and body[at] != COMMA:
            first, last = _token(body, _expect(body, at, TAIL))
            return (NO if first < 0 else bars), symbols, first, last
        at += 1 if at > 0 else 0
    return NO, 0, 0, 0


@compiled
def _group(body: Bytes, at: int, row: int, prices: Floats, wholes: Int64s) -> tuple[int, int]:
    """Read the bars of one symbol into the rows from ``row`` on; return the position behind them, and the next row."""
    while row < prices.shape[1]:
        at = _bar(body, at, row, prices, wholes)
        if at < 0:
            return NO, row
        row += 1
        if body[at] == END:
            return at + 1, row
        if body[at] != COMMA:
            return NO, row
        at += 1
    return NO, row


@compiled
def _bar(body: Bytes, at: int, row: int, prices: Floats, wholes: Int64s) -> int:
    """Read one bar; return the position behind it."""
    found, more = 0, body[at] == OPEN
    while more and body[at + 1] == QUOTE:
        column = COLUMNS[body[at + 2]]
        at += 3
        if column == VOLUME and body[at] == LETTER_W:
            column, at = VWAP, at + 1
        if column < 0 or found >> column & 1 or body[at] != QUOTE or body[at + 1] != COLON:
            return NO
        found |= 1 << column
        at = _value(body, at + 2, column, row, prices, wholes)
        more = at > 0 and body[at] == COMMA
    return at + 1 if at > 0 and found == ALL_FIELDS and not more and body[at] == CLOSE else NO


@compiled
def _value(body: Bytes, at: int, column: int, row: int, prices: Floats, wholes: Int64s) -> int:
    """Read the value of one field; return the position behind it."""
    if column == TIME:
        wholes[0, row] = _microseconds(body, at)
        return at + 22 if wholes[0, row] >= 0 else NO
    end, number, decimals = _number(body, at)
    if column != COUNT:
        prices[column, row] = number / POWERS[decimals]
    elif decimals == 0:
        wholes[1, row] = number
    else:
        return NO
    return end


@compiled
def _number(body: Bytes, at: int) -> tuple[int, int, int]:
    """Return the position behind a number, its digits as a whole number, and how many of them are decimals."""
    first, number, decimals = at, 0, 0
    while _is_digit(body[at]) and number <= LARGEST_TENTH:
        number, at = 10 * number + body[at] - ZERO, at + 1
    if at == first or (body[first] == ZERO and at > first + 1):
        return NO, 0, 0
    if body[at] == DOT:
        point, at = at, at + 1
        while _is_digit(body[at]) and number <= LARGEST_TENTH:
            number, at = 10 * number + body[at] - ZERO, at + 1
        decimals = at - point - 1
        if decimals == 0 or decimals >= len(POWERS):
            return NO, 0, 0
    return (at, number, decimals) if body[at] == COMMA or body[at] == CLOSE else (NO, 0, 0)


@compiled
def _microseconds(body: Bytes, at: int) -> int:
    """Return the moment of such as "2024-01-02T09:30:00Z", with its quotes; -1 if it is none from 1970 on."""
    if not (body[at] == QUOTE and body[at + 5] == DASH and body[at + 8] == DASH and body[at + 11] == LETTER_T):
        return NO
    if not (body[at + 14] == COLON and body[at + 17] == COLON and body[at + 20] == LETTER_Z and body[at + 21] == QUOTE):
        return NO
    century, year, month = _two(body, at + 1), _two(body, at + 3), _two(body, at + 6)
    day, hour, minute, second = _two(body, at + 9), _two(body, at + 12), _two(body, at + 15), _two(body, at + 18)
    if min(century, year, month, day, hour, minute, second) < 0 or hour > 23 or minute > 59 or second > 59:
        return NO
    days = _days(100 * century + year, month, day)
    return ((days * 24 + hour) * 60 + minute) * 60_000_000 + second * 1_000_000 if days >= 0 else NO


@compiled
def _days(year: int, month: int, day: int) -> int:
    """Return the days since 1970-01-01; -1 for what is no date or earlier."""
    is_leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    if year < 1970 or month < 1 or month > 12 or day < 1:
        return NO
    if day > MONTH_LENGTHS[month] + (is_leap and month == 2):
        return NO
    before = year - 1 if month <= 2 else year
    days_of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    return 365 * before + before // 4 - before // 100 + before // 400 + days_of_year - 719_468


@compiled
def _two(body: Bytes, at: int) -> int:
    tens, ones = int(body[at]), int(body[at + 1])
    return 10 * (tens - ZERO) + ones - ZERO if _is_digit(tens) and _is_digit(ones) else NO


@compiled
def _is_digit(letter: int) -> bool:
    return ZERO <= letter <= ZERO + 9


@compiled
def _letters(body: Bytes, at: int, allowed: npt.NDArray[np.bool_]) -> int:
    """Return the position of the quote that ends a text of the ``allowed`` letters."""
    while allowed[body[at]]:
        at += 1
    return at if body[at] == QUOTE else NO


@compiled
def _expect(body: Bytes, at: int, text: Bytes) -> int:
    for letter in text:
        if body[at] != letter:
            return NO
        at += 1
    return at


@compiled
def _token(body: Bytes, at: int) -> tuple[int, int]:
    """Return the first and last position of the token, 0 twice if it is null; -1 if the page does not end with it."""
    if at < 0:
        return NO, NO
    first, last = at + 1, 0
    if body[at] == QUOTE:
        last = _letters(body, first, OF_TOKENS)
        end = last + 2 if last > first and body[last + 1] == CLOSE else NO
    else:
        first, end = 0, _expect(body, at, NULL)
    end += 1 if end > 0 and body[end] == 10 else 0  # a line feed, as Go's encoder adds
    return (first, last) if end == len(body) - PADDED else (NO, NO)
