from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from marketpipe.shared_kernel.domain.symbol import Symbol
from marketpipe.storage.domain.store_survey import RuleKey
from marketpipe.storage.infrastructure.reading.quarantine import EXAMPLES_OF_A_RULE, Quarantine, RuleExamples
from marketpipe.testing import bar_table
from tests.support.builders import day
from tests.support.pipeline_ring import FRIDAY, TUESDAY, WEDNESDAY, config, minutes, pipeline
from tests.support.scripted_provider import ScriptedProvider
from tests.support.store_on_disk import StoreOnDisk

DAYS = [day("AAPL", date) for date in (WEDNESDAY, TUESDAY)]


def test_rejected_bars_are_counted_by_rule_and_a_damaged_file_stops_nothing(tmp_path: Path) -> None:
    bars = {date: minutes(date, 6) for date in (TUESDAY, WEDNESDAY)}
    bars[TUESDAY][1] |= {"low": 900.0}
    bars[WEDNESDAY][1] |= {"low": 900.0}
    bars[WEDNESDAY][2] |= {"low": 900.0}
    with pipeline(config(tmp_path, ["AAPL"], TUESDAY, FRIDAY), ScriptedProvider({"AAPL": bars})) as made:
        made.ingest()
    layout = StoreOnDisk(tmp_path).layout
    survey = Quarantine(layout).survey

    found = survey(DAYS, [Symbol("AAPL")], range(2024, 2025), most=9)
    newest = survey(DAYS, [], range(0), most=1)
    layout.rejected(DAYS[1]).write_bytes(b"rotten")
    damaged = survey(DAYS, [], range(0), most=9)

    assert [(each.key, each.bars, each.symbol_days) for each in found.counts] == [
        (RuleKey("high_is_highest", "error", "rejected"), 3, 2)
    ]
    assert pa.table(found.examples)["low"].to_pylist() == [900.0] * 3
    assert (newest.read, newest.all_days, newest.counts[0].bars) == (1, 2, 2)
    assert damaged.counts[0].bars == 2
    assert "damaged" in damaged.unreadable[0]


def test_each_rejected_official_day_counts_as_a_symbol_day() -> None:
    examples = RuleExamples()
    key = RuleKey("high_is_highest", "error", "official day")
    examples.add(key, Symbol("AAPL"), None, bar_table(minutes(TUESDAY, 10)))  # a year of them is one file

    assert [(each.bars, each.symbol_days) for each in examples.survey(1, 1, []).counts] == [(10, 10)]


def test_few_examples_of_a_rule_are_kept_however_many_bars_broke_it() -> None:
    examples, key = RuleExamples(), RuleKey("no_jump", "warning", "stored")
    rows = bar_table(minutes(TUESDAY, 15))
    for _ in range(3):
        examples.add(key, Symbol("AAPL"), DAYS[0].trading_date, rows)

    found = examples.survey(3, 3, [])

    assert (found.counts[0].bars, found.counts[0].symbol_days) == (45, 3)
    assert len(pa.table(found.examples)) == EXAMPLES_OF_A_RULE
