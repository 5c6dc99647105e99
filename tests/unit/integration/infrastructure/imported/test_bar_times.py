from __future__ import annotations

from datetime import UTC, date, datetime, time
from typing import Any

import pyarrow as pa
import pytest

from marketpipe.integration.domain.table_import import ImportSettings
from marketpipe.integration.infrastructure.imported.bar_times import BarTimes, check_timezone, read_times
from marketpipe.shared_kernel.domain.errors import ConfigurationError

MOMENT = datetime(2024, 1, 2, 14, 30, tzinfo=UTC)
SECONDS = int(MOMENT.timestamp())


def read(values: Any, *, timezone: str | None = None, kind: pa.DataType | None = None, **settings: Any) -> BarTimes:
    table = pa.table({"at": pa.array(values, kind)})
    return read_times(table, {"timestamp": "at"}, ImportSettings(name="x", timezone=timezone, **settings), "")


def moments(times: BarTimes) -> list[datetime]:
    assert times.micros is not None
    return [datetime.fromtimestamp(micros / 10**6, UTC) for micros in times.micros.tolist()]


@pytest.mark.parametrize(
    "value",
    [
        SECONDS,
        float(SECONDS),
        SECONDS * 1000,
        SECONDS * 10**6,
        SECONDS * 10**9,
        MOMENT,
        "2024-01-02T14:30:00Z",
        "2024-01-02 09:30:00-05:00",
        "2024-01-02 09:30:00 -0500",
        "2024-01-02T14:30:00.000000000Z",
        "01/02/2024 14:30 UTC",
    ],
    ids=str,
)
def test_times_that_name_their_zone(value: object) -> None:
    times = read([value], date_order="MDY")
    assert moments(times) == [MOMENT]
    assert times.timezone == "UTC"


@pytest.mark.parametrize(
    "value",
    [
        datetime(2024, 1, 2, 9, 30),  # noqa: DTZ001 - a local time
        "2024-01-02 09:30",
        "2024-01-02T09:30:00",
        "2024/1/2 9:30",
        "2024.01.02 09:30",
        "20240102 0930",
        "20240102 093000",
        "20240102 09:30:00",
        20240102093000,
        202401020930,
        "01/02/2024 9:30:00 AM",
    ],
    ids=str,
)
def test_local_times_need_a_time_zone(value: object) -> None:
    settings = {"date_order": "MDY"} if str(value).startswith("01") else {}
    assert "without a zone" in read([value], **settings).questions[0]
    assert moments(read([value], timezone="America/New_York", **settings)) == [MOMENT]
    assert moments(read([value], timezone="-05:00", **settings)) == [MOMENT]


@pytest.mark.parametrize(
    ("dates", "order", "expected"),
    [
        (["01/13/2024", "02/01/2024"], None, [date(2024, 1, 13), date(2024, 2, 1)]),
        (["13.01.2024", "01.02.2024"], None, [date(2024, 1, 13), date(2024, 2, 1)]),
        (["01/02/24"], "MDY", [date(2024, 1, 2)]),
        (["01/02/2024"], "DMY", [date(2024, 2, 1)]),
        ([20240102, 20240103], None, [date(2024, 1, 2), date(2024, 1, 3)]),
        (["2024-02-29"], None, [date(2024, 2, 29)]),
    ],
)
def test_dates(dates: list[object], order: str | None, expected: list[date]) -> None:
    times = read(dates, date_order=order)
    assert times.dates_only
    assert [moment.date() for moment in moments(times)] == expected


def test_the_order_of_month_and_day_is_asked_if_it_cannot_be_told() -> None:
    assert 'date_order="MDY" or "DMY"' in read(["01/02/2024", "03/04/2024"]).questions[0]


@pytest.mark.parametrize(
    "clock",
    [
        pa.array([time(9, 30)]),
        pa.array(["09:30"]),
        pa.array(["9:30:00"]),
        pa.array(["0930"]),
        pa.array([930]),
        pa.array([93000]),
        pa.array([34_200_000]),
    ],
    ids=str,
)
def test_a_date_and_a_time_of_day(clock: pa.Array) -> None:
    table = pa.table({"date": pa.array(["2024-01-02"]), "time": clock})
    settings = ImportSettings(name="x", timezone="America/New_York")
    assert moments(read_times(table, {"date": "date", "time": "time"}, settings, "")) == [MOMENT]


def test_the_zone_of_a_documented_format_needs_no_answer() -> None:
    table = pa.table({"at": ["2024-01-02 09:30"]})
    assert moments(read_times(table, {"timestamp": "at"}, ImportSettings(name="x"), "America/New_York")) == [MOMENT]


def test_a_time_that_exists_twice_is_refused_unless_stated() -> None:
    values, zone = ["2024-11-03 01:30"], "America/New_York"
    with pytest.raises(ConfigurationError, match=r"2024-11-03 01:30:00 exists twice in America/New_York.*ambiguous="):
        read(values, timezone=zone)
    early, late = (moments(read(values, timezone=zone, ambiguous=which))[0] for which in ("earliest", "latest"))
    assert (early.hour, late.hour) == (5, 6)


def test_a_time_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="2024-03-10 02:30:00 does not exist in America/New_York"):
        read(["2024-03-10 02:30"], timezone="America/New_York", ambiguous="earliest")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (["yesterday"], "'yesterday' in row 1"),
        (["2024-01-02 09:30", None], "no time in row 2"),
        (["2024-13-40 09:30"], "no date of the calendar"),
        (["2024-01-02 29:30"], "no clock shows"),
        ([34_200_000], "times of day"),
        ([float("inf")], "not finite"),
        (["2024-01-02 09:30+99:99"], "the offset \\+99:99 from UTC, which no clock has"),
        ([45_293.395833, 45_293.4], "as Excel counts them"),
        (["20240102 0930", "20240102 0931", "2024-01-02 0x32"], "'2024-01-02 0x32' in row 3"),
        ([True], "has no times"),
        (["2024-01-02T14:30:00Z", "2024-01-02T14:30:00"], "with a zone and times without one"),
    ],
)
def test_what_is_no_time_is_refused_with_its_row(values: list[Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        read(values)


def test_text_of_polars_is_read() -> None:
    assert moments(read(["2024-01-02T14:30:00Z"], kind=pa.string_view())) == [MOMENT]


@pytest.mark.parametrize("name", ["Mars/Olympus", "EDT", "../etc", "5", 5, b"UTC"])
def test_an_unknown_time_zone_is_refused(name: Any) -> None:
    with pytest.raises(ConfigurationError, match="is no time zone"):
        check_timezone(name)
