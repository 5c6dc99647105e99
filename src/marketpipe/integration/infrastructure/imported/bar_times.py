"""Times of a table as microseconds since 1970, UTC: from numbers, text, dates and times of day, local or not."""

from __future__ import annotations

import re
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from attrs import frozen

from marketpipe.integration.domain.table_import import ImportSettings, columns_argument
from marketpipe.shared_kernel.domain.errors import ConfigurationError

Int64s = npt.NDArray[np.int64]
DAY_MICROS: Final = 86_400_000_000
UTC_NAME: Final = "UTC"
EPOCHS: Final = ((10**8, 10**11, "s", 10**6), (10**11, 10**14, "ms", 10**3), (10**14, 10**17, "us", 1))
"""From, to, unit and microseconds of it: for the years from 1973 on, a number can be of one unit only."""
NANOSECONDS: Final = 10**17
EXCEL_DAYS: Final = (25_569, 73_416)
"""From 1970-01-01 on, to the end of 2100, counted since 1899-12-30."""
FARTHEST: Final = 14
"""Hours from UTC, on Kiribati."""
_OFFSET = re.compile(r"[+-]\d\d:\d\d")
_TEXT: Final = (
    r"^\s*(?P<a>\d{1,4})[-/.](?P<b>\d{1,2})[-/.](?P<c>\d{1,4})(?:[T ]\s*(?P<time>\d{1,2}:\d\d.*?))?\s*"
    r"(?P<zone>Z|UTC|[+-]\d\d:?\d\d)?\s*$"
)
_DIGITS: Final = r"^\s*(?P<a>\d{4})(?P<b>\d\d)(?P<c>\d\d)(?:[T ]?(?P<time>\d{4}(?:\d\d)?|\d\d:\d\d.*?))?(?P<zone>)\s*$"
_TIME: Final = r"^\s*(?P<h>\d{1,2}):?(?P<m>\d\d)(?::?(?P<s>\d\d)(?:\.(?P<f>\d{1,9}))?)?\s*(?P<p>[AaPp][Mm])?\s*$"


@frozen
class BarTimes:
    """``micros`` are microseconds since 1970, UTC; of bars with a date only they are that date's midnight in UTC.

    ``timezone`` is what they were converted from; "" for dates. With a question, ``micros`` are None.
    """

    micros: Int64s | None
    timezone: str = ""
    dates_only: bool = False
    questions: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def check_timezone(name: str | None) -> None:
    """Raise ``ConfigurationError`` for a time zone that is neither an IANA name nor an offset."""
    try:
        if name is None or _OFFSET.fullmatch(name):
            return
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, TypeError, OSError) as error:
        raise ConfigurationError(
            f"timezone: {name!r} is no time zone; write America/New_York, UTC, or an offset such as -05:00"
        ) from error


def read_times(table: pa.Table, columns: dict[str, str], settings: ImportSettings, zone: str) -> BarTimes:
    """Return the times of all rows. ``zone`` is that of a documented format, "" for none.

    Raises ``ConfigurationError`` for what is no time, with the row.
    """
    stated = settings.timezone or zone
    if "timestamp" in columns:
        found = _Moments.of(table[columns["timestamp"]], columns["timestamp"], settings.date_order)
        if "time" in columns or "date" in columns:
            raise ConfigurationError("columns: give a timestamp, or a date and a time, but not all of them")
    else:
        found = _Moments.of(table[columns["date"]], columns["date"], settings.date_order)
        if "time" in columns and not found.question:
            found = found.plus(_time_of_day(table[columns["time"]], columns["time"]))
    if found.question:
        return BarTimes(None, questions=(found.question,))
    if found.zone:
        unused = settings.timezone not in (None, UTC_NAME)
        note = "the times name their moment in UTC: the stated time zone is not used"
        return BarTimes(found.micros, UTC_NAME, notes=(note,) if unused else ())
    if found.is_date:
        return BarTimes(found.micros, dates_only=True)
    if not stated:
        question = (
            f"the times, such as {_shown(int(found.micros[0]))}, are local times without a zone: state it with "
            'timezone="…", such as America/New_York or UTC'
        )
        return BarTimes(None, questions=(question,))
    return BarTimes(_to_utc(found.micros, stated, settings), stated)


def _shown(micros: int) -> str:
    return str(np.datetime64(micros, "us").astype("datetime64[s]")).replace("T", " ")


def _to_utc(local: Int64s, zone: str, settings: ImportSettings) -> Int64s:
    stamps = pa.array(local, pa.int64()).cast(pa.timestamp("us"))
    ambiguous = "raise" if settings.ambiguous is None else str(settings.ambiguous)
    try:
        return _ints(pc.assume_timezone(stamps, zone, ambiguous=ambiguous, nonexistent="raise"))
    except pa.ArrowInvalid as error:
        raise ConfigurationError(_clock_change(zone, str(error))) from error


def _clock_change(zone: str, reason: str) -> str:
    moment = re.search(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", reason)
    found = f"the local time {moment.group()}" if moment else "a local time"
    if "ambiguous" in reason:
        return (
            f"{found} exists twice in {zone}, as clocks are set back then: state which of both is meant with "
            'ambiguous="earliest" or "latest"'
        )
    if "exist" in reason:
        return (
            f"{found} does not exist in {zone}, as clocks are set forward then: the times are of another time zone. "
            'State it with timezone="…"'
        )
    return f"the times cannot be read as those of {zone}: {reason}"


@frozen
class _Moments:
    """Microseconds since 1970: UTC if ``zone``, else by a local clock."""

    micros: Int64s
    zone: bool = False
    is_date: bool = False
    question: str = ""

    @classmethod
    def of(cls, column: pa.ChunkedArray, name: str, order: str | None) -> _Moments:
        kind = column.type
        if pa.types.is_dictionary(kind):
            column, kind = column.cast(kind.value_type), kind.value_type
        if not len(column) or column.null_count:
            row = int(np.flatnonzero(pc.is_null(column).to_numpy(zero_copy_only=False))[0]) if len(column) else 0
            raise ConfigurationError(f"the column {name} has no time in row {row + 1:,}: every bar needs one")
        if pa.types.is_timestamp(kind):
            stamps = column.cast(pa.timestamp("us", kind.tz), safe=False)
            return cls(_ints(stamps), zone=kind.tz is not None)
        if pa.types.is_date(kind):
            return cls(_ints(column.cast(pa.timestamp("us"))), is_date=True)
        if pa.types.is_integer(kind) or pa.types.is_floating(kind):
            return _from_numbers(column, name, order)
        if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
            return _from_text(column.cast(pa.string()), name, order)
        raise ConfigurationError(f"the column {name}, {kind}, has no times")

    def plus(self, time_of_day: Int64s) -> _Moments:
        if not self.is_date:
            raise ConfigurationError(
                "the date column has times of day as well: name it with " + columns_argument(["timestamp"])
            )
        return _Moments(self.micros + time_of_day)


def _ints(stamps: Any) -> Int64s:
    found: Int64s = stamps.cast(pa.int64()).to_numpy()
    return found


def _from_numbers(column: pa.ChunkedArray, name: str, order: str | None) -> _Moments:
    """Read seconds, milli-, micro- or nanoseconds since 1970, or digits such as 20240102 and 20240102093000."""
    numbers = column.to_numpy()
    if not np.isfinite(numbers).all():
        raise ConfigurationError(f"the column {name} has numbers that are not finite, which are no times")
    if (numbers != np.floor(numbers)).any() and not (numbers < EPOCHS[0][1]).all():
        raise ConfigurationError(f"the column {name} has numbers with fractions, which are no times")
    low, high = int(numbers.min()), int(numbers.max())
    for digits in (8, 12, 14):
        if 19_600_101 * 10 ** (digits - 8) <= low and high < 21_000_101 * 10 ** (digits - 8):
            return _from_text(column.cast(pa.int64()).cast(pa.string()), name, order)
    for least, limit, _, factor in EPOCHS:
        if least <= low and high < limit:
            return _Moments(np.round(numbers * factor).astype(np.int64), zone=True)
    if low >= NANOSECONDS:
        return _Moments(numbers.astype(np.int64) // 1000, zone=True)
    if EXCEL_DAYS[0] <= low and high < EXCEL_DAYS[1]:
        raise ConfigurationError(
            f"the column {name} has numbers from {low} to {high}, which seem to be days as Excel counts them: save "
            "them as text, such as 2024-01-02 09:30"
        )
    raise ConfigurationError(
        f"the column {name} has numbers from {low:,} to {high:,}, which are no times since 1970: if they are times of "
        f"day, name a column with the date too, with {columns_argument(['date', 'time'])}"
    )


def _from_text(column: pa.ChunkedArray, name: str, order: str | None) -> _Moments:
    """Read each different text once: dates repeat for every minute of a day."""
    coded = column.combine_chunks().dictionary_encode()
    if isinstance(coded, pa.ChunkedArray):
        coded = coded.combine_chunks()
    texts, codes = coded.dictionary, coded.indices.to_numpy()
    parts = min((pc.extract_regex(texts, pattern) for pattern in (_TEXT, _DIGITS)), key=_unread)
    if _unread(parts):
        row = int(np.flatnonzero(np.isin(codes, np.flatnonzero(parts.is_null().to_numpy(False))))[0])
        raise ConfigurationError(f"the column {name} has {column[row].as_py()!r} in row {row + 1:,}, which is no time")
    days, question = _days(parts, name, order)
    if question:
        return _Moments(np.zeros(0, np.int64), question=question)
    times = pc.struct_field(parts, "time")
    with_time = pc.not_equal(times, "").to_numpy(False)
    if not with_time.any():
        return _Moments(days[codes] * DAY_MICROS, is_date=True)
    if not with_time.all():
        times = pc.if_else(pa.array(with_time), times, "00:00")
    micros = days * DAY_MICROS + _clock_times(times, name)
    zones = pc.struct_field(parts, "zone")
    offsets, has_zone = _offsets(zones, name)
    if has_zone.any() and not has_zone.all():
        raise ConfigurationError(f"the column {name} has times with a zone and times without one")
    return _Moments((micros - offsets)[codes], zone=bool(has_zone.any()))


def _unread(parts: pa.StructArray) -> int:
    return int(parts.null_count)


def _numbers(parts: pa.StructArray, name: str) -> Int64s:
    texts = pc.struct_field(parts, name)
    found: Int64s = pc.if_else(pc.equal(texts, ""), "0", texts).cast(pa.int64()).to_numpy()
    return found


def _days(parts: pa.StructArray, name: str, order: str | None) -> tuple[Int64s, str]:
    """Return days since 1970, or why the order of day and month is not known."""
    a, b, c = (_numbers(parts, part) for part in "abc")
    if (a > 31).all():
        year, month, day = a, b, c
    else:
        first, second = int(a.max()), int(b.max())
        chosen = order or ("DMY" if first > 12 else "MDY" if second > 12 else "")
        if not chosen:
            example = f"{a[0]:02}/{b[0]:02}/{c[0]}"
            return c, (
                f"dates such as {example} in the column {name} may begin with the month or the day: state which with "
                'date_order="MDY" or "DMY"'
            )
        if chosen == "YMD":
            year, month, day = a, b, c
        else:
            year, (month, day) = c, ((a, b) if chosen == "MDY" else (b, a))
    year = np.where(year < 100, year + np.where(year < 60, 2000, 1900), year)
    wrong = (month < 1) | (month > 12) | (day < 1) | (day > _days_in(year, np.clip(month, 1, 12)))
    if wrong.any():
        at = int(np.flatnonzero(wrong)[0])
        raise ConfigurationError(
            f"the column {name} has {a[at]}/{b[at]}/{c[at]}, which is no date of the calendar"
            + (f" in the order {order}" if order else "")
        )
    return _first_of(year, month) + day - 1, ""


def _first_of(year: Int64s, month: Int64s) -> Int64s:
    months = ((year - 1970) * 12 + month - 1).astype("datetime64[M]")
    days: Int64s = months.astype("datetime64[D]").astype(np.int64)
    return days


def _days_in(year: Int64s, month: Int64s) -> Int64s:
    return _first_of(year + month // 12, month % 12 + 1) - _first_of(year, month)


def _clock_times(texts: pa.Array, name: str) -> Int64s:
    parts = pc.extract_regex(texts, _TIME)
    if parts.null_count:
        text = texts.filter(parts.is_null())[0].as_py()
        raise ConfigurationError(f"the column {name} has the time of day {text!r}, which cannot be read")
    hour, minute, second = (_numbers(parts, part) for part in "hms")
    half = pc.utf8_lower(pc.struct_field(parts, "p"))
    afternoon, morning = (pc.equal(half, word).to_numpy(False) for word in ("pm", "am"))
    hour = np.where(afternoon | morning, hour % 12 + np.where(afternoon, 12, 0), hour)
    if (hour > 23).any() or (minute > 59).any() or (second > 59).any():
        at = int(np.flatnonzero((hour > 23) | (minute > 59) | (second > 59))[0])
        raise ConfigurationError(f"the column {name} has the time of day {texts[at].as_py()!r}, which no clock shows")
    fraction = pc.utf8_rpad(pc.struct_field(parts, "f"), 6, "0")
    micros = pc.utf8_slice_codeunits(fraction, 0, 6).cast(pa.int64()).to_numpy()
    found: Int64s = ((hour * 60 + minute) * 60 + second) * 1_000_000 + micros
    return found


def _offsets(zones: pa.Array, name: str) -> tuple[Int64s, npt.NDArray[np.bool_]]:
    """Return the offset from UTC of each text in microseconds, and which texts have one."""
    found = [_offset(text, name) for text in zones.unique().to_pylist()]
    places = pc.index_in(zones, zones.unique()).to_numpy()
    offsets = np.array([offset or 0 for offset in found], np.int64)[places]
    return offsets, np.array([offset is not None for offset in found], np.bool_)[places]


def _offset(text: str, name: str) -> int | None:
    if not text:
        return None
    if text in ("Z", UTC_NAME):
        return 0
    hours, minutes = int(text[1:3]), int(text[-2:])
    if hours > FARTHEST or minutes > 59:
        raise ConfigurationError(f"the column {name} has the offset {text} from UTC, which no clock has")
    return (-1 if text[0] == "-" else 1) * (hours * 60 + minutes) * 60_000_000


def _time_of_day(column: pa.ChunkedArray, name: str) -> Int64s:
    """Return microseconds since midnight."""
    if pa.types.is_time(column.type):
        return _ints(column.cast(pa.time64("us")))
    if pa.types.is_integer(column.type):
        numbers = column.to_numpy()
        if int(numbers.max()) > 235_959:  # milliseconds since midnight, as QuantConnect has them
            found: Int64s = numbers.astype(np.int64) * 1000
            return found
        text = pc.utf8_lpad(column.cast(pa.string()), 6 if int(numbers.max()) > 2_359 else 4, "0")
    else:
        text = column.cast(pa.string())
    coded = text.combine_chunks().dictionary_encode()
    if isinstance(coded, pa.ChunkedArray):
        coded = coded.combine_chunks()
    times: Int64s = _clock_times(coded.dictionary, name)[coded.indices.to_numpy()]
    return times
