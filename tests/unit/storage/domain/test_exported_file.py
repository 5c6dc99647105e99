from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from marketpipe.shared_kernel.domain.errors import ConfigurationError
from marketpipe.storage.domain.exported_file import ENDINGS, FileFormat, json_value


@pytest.mark.parametrize(("ending", "meant"), ENDINGS.items())
def test_the_ending_of_a_name_is_its_format(ending: str, meant: str) -> None:
    assert str(FileFormat.of(f"a.b.{ending.upper()}", None)) == meant


def test_a_given_format_counts_more_than_the_ending() -> None:
    assert FileFormat.of("bars.parquet", "csv") is FileFormat.CSV
    assert FileFormat.of("bars", FileFormat.ARROW) is FileFormat.ARROW


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("bars", None, "the ending names no format"),
        ("bars.xlsx", None, "the ending names no format"),
        ("bars.csv", "parket", "did you mean 'parquet'"),
    ],
)
def test_what_names_no_format_is_refused(name: str, given: str | None, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        FileFormat.of(name, given)


def test_json_has_no_nan_and_no_types_of_its_own() -> None:
    moment = datetime(2024, 1, 2, 14, 30, tzinfo=UTC)
    value = {"a": float("nan"), "b": [moment, date(2024, 1, 2)], "c": b"\x01", "d": Decimal("1.5"), "e": None}
    expected = {"a": None, "b": ["2024-01-02T14:30:00Z", "2024-01-02"], "c": "01", "d": 1.5, "e": None}
    assert json_value(value) == expected
