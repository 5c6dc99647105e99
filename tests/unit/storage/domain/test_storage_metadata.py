from __future__ import annotations

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from marketpipe.shared_kernel.domain.store_inventory import DatasetIdentity
from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.shared_kernel.domain.timeframe import Timeframe
from marketpipe.storage.domain.storage_metadata import StorageMetadata, sources_in

IDENTITY = DatasetIdentity("alpaca", "sip", "raw")
DAY = StorageMetadata(IDENTITY, Symbol("AAPL"), "2024-01-02", Timeframe.MINUTE_1, 1)
YEAR = StorageMetadata(IDENTITY, Symbol("AAPL"), "2024", Timeframe.DAY_1, 1, {"2024-02": "bb", "2024-01": "aa"})


def test_a_day_file_names_its_content() -> None:
    assert DAY.as_mapping() == {
        "marketpipe.symbol": "AAPL",
        "marketpipe.trading_date": "2024-01-02",
        "marketpipe.timeframe": "1m",
        "marketpipe.provider": "alpaca",
        "marketpipe.feed": "sip",
        "marketpipe.adjustment": "raw",
        "marketpipe.schema_version": "1",
    }


def test_an_aggregate_names_its_period_and_what_it_was_made_from() -> None:
    found = YEAR.as_mapping()

    assert found["marketpipe.period"] == "2024"
    assert "marketpipe.trading_date" not in found
    assert (found["marketpipe.source.2024-01"], found["marketpipe.source.2024-02"]) == ("aa", "bb")


def test_the_order_in_which_sources_were_found_does_not_show() -> None:
    other_way_round = evolve(YEAR, sources=dict(reversed(list(YEAR.sources.items()))))

    assert list(other_way_round.as_mapping().items()) == list(YEAR.as_mapping().items())


@given(st.dictionaries(st.from_regex(r"\d{4}-\d{2}", fullmatch=True), st.text("0123456789abcdef", min_size=1)))
def test_sources_come_back_from_the_metadata(sources: dict[str, str]) -> None:
    assert sources_in(evolve(YEAR, sources=sources).as_mapping()) == sources


def test_metadata_of_other_programs_is_no_source() -> None:
    foreign = {"pandas": "{}", "source.2024-01": "aa", "org.source.2024-01": "cc"}

    assert sources_in({**foreign, **DAY.as_mapping()}) == {}
