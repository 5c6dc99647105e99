"""A pipeline inside another program: threads, observers, stopping, and several pipelines at once."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

import pytest

from marketpipe.pipeline import Pipeline
from marketpipe.shared_kernel.events import (
    BarsExhausted,
    BarsFetched,
    BarsRequested,
    BarsStored,
    BarsValidated,
    Event,
    FilesSynced,
    JobFinished,
    JobStarted,
    RunFinished,
    SymbolDaysRecorded,
)
from tests.support.inline_executor import InlineExecutor
from tests.support.pipeline_ring import (
    FRIDAY,
    TUESDAY,
    WEDNESDAY,
    config,
    contents,
    minutes,
    pipeline,
    stored_rows,
)
from tests.support.scripted_provider import Row, ScriptedProvider

SYMBOLS = ["AAPL", "MSFT", "NVDA", "ORCL"]


def market(price: float = 100.0) -> dict[str, dict[str, list[Row]]]:
    return {symbol: {date: minutes(date, 3, price=price) for date in (TUESDAY, WEDNESDAY)} for symbol in SYMBOLS}


def one_symbol_a_call(price: float = 100.0) -> ScriptedProvider:
    return ScriptedProvider(market(price), symbols_per_request=1)


def recorded(made: Pipeline) -> int:
    return sum(summary.complete for summary in made.status().symbols)


def test_a_subscriber_hears_of_everything_in_the_order_in_which_it_came_about(tmp_path: Path) -> None:
    heard: list[Event] = []
    with pipeline(config(tmp_path, ["AAPL"], TUESDAY, TUESDAY), one_symbol_a_call()) as made:
        made.subscribe(Event, heard.append)
        report = made.ingest()

    assert [type(event) for event in heard] == [
        JobStarted,
        BarsRequested,
        BarsFetched,
        BarsValidated,
        FilesSynced,
        BarsStored,
        SymbolDaysRecorded,
        BarsExhausted,
        JobFinished,
        RunFinished,
    ]
    assert heard[-2] == JobFinished(report.job_id, "scripted", "completed")


def test_an_observers_errors_are_logged_and_break_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def fail(_: Event) -> None:
        raise RuntimeError("my own trouble")

    with pipeline(config(tmp_path, SYMBOLS, TUESDAY, WEDNESDAY), one_symbol_a_call()) as made:
        made.subscribe(Event, fail)
        with caplog.at_level(logging.ERROR, "marketpipe.observers"):
            report = made.ingest()

    assert (report.ok, report.bars) == (True, 24)
    assert {record.name for record in caplog.records} == {"marketpipe.observers"}
    assert "my own trouble" in caplog.text


def test_what_is_committed_when_a_symbol_day_is_reported_is_on_disk(tmp_path: Path) -> None:
    missing: list[str] = []

    def look(event: SymbolDaysRecorded) -> None:
        days = ((str(o.symbol_day.symbol), str(o.symbol_day.trading_date)) for o in event.outcomes)
        missing.extend(f"{symbol} {date}" for symbol, date in days if not stored_rows(tmp_path, symbol, date))

    with pipeline(config(tmp_path, SYMBOLS, TUESDAY, WEDNESDAY), one_symbol_a_call()) as made:
        made.subscribe(SymbolDaysRecorded, look)
        report = made.ingest()

    assert (report.bars, missing) == (24, [])


def test_stop_from_an_observer_interrupts_and_the_next_run_asks_for_the_rest(tmp_path: Path) -> None:
    provider = one_symbol_a_call()
    with pipeline(config(tmp_path, SYMBOLS, TUESDAY, WEDNESDAY, workers=1), provider) as made:
        once = iter([made.stop])
        made.subscribe(SymbolDaysRecorded, lambda _: next(once, lambda: None)())
        report = made.ingest()
        assert (report.state, report.planned, len(report.outcomes)) == ("interrupted", 8, 2)
        assert made.status().jobs[0].done == 2
        provider.forget()

        again = made.ingest()

    assert (again.ok, again.already_settled) == (True, 2)
    assert provider.asked == [f"{symbol} {date}" for symbol in SYMBOLS[1:] for date in (TUESDAY, WEDNESDAY)]


def test_an_interruption_between_file_and_checkpoint_is_made_good_without_asking_again(tmp_path: Path) -> None:
    provider = one_symbol_a_call()
    with pipeline(config(tmp_path, ["AAPL"], TUESDAY, WEDNESDAY), provider) as made:
        pending = [KeyboardInterrupt()]

        def interrupt_once(_: BarsStored) -> None:
            if pending:
                raise pending.pop()

        made.subscribe(BarsStored, interrupt_once)
        with pytest.raises(KeyboardInterrupt):
            made.ingest()
        written = contents(tmp_path)
        assert len(written) == 2
        assert (recorded(made), made.status().jobs[0].state) == (0, "interrupted")

        asked = len(provider.requests)
        report = made.ingest()

    assert (report.ok, report.planned, report.already_settled) == (True, 0, 2)
    assert len(provider.requests) == asked
    assert contents(tmp_path) == written


def test_batches_run_on_the_executor_that_was_given(tmp_path: Path) -> None:
    threads: set[int] = set()
    settings = config(tmp_path, SYMBOLS, TUESDAY, WEDNESDAY)
    with Pipeline(settings, new_executor=InlineExecutor, market_data_provider=one_symbol_a_call()) as made:
        made.subscribe(BarsStored, lambda _: threads.add(threading.get_ident()))
        report = made.ingest()

    assert report.ok
    assert threads == {threading.get_ident()}


def test_two_pipelines_in_two_threads_do_not_meet(tmp_path: Path) -> None:
    """Stores, metrics and clocks of their own; one of them is stopped, which the other must not notice."""
    stopped = pipeline(config(tmp_path / "a", SYMBOLS, TUESDAY, WEDNESDAY, workers=1), one_symbol_a_call(10.0))
    whole = pipeline(config(tmp_path / "b", SYMBOLS, TUESDAY, WEDNESDAY, workers=1), one_symbol_a_call(20.0))
    meeting, states = threading.Barrier(2), dict[str, str]()
    heard: dict[str, list[Event]] = {"a": [], "b": []}

    def wait_for_the_other(_: JobStarted) -> None:
        meeting.wait(60)

    def run(name: str, made: Pipeline) -> None:
        with made:
            made.subscribe(Event, heard[name].append)
            made.subscribe(JobStarted, wait_for_the_other)
            states[name] = made.ingest().state

    stopped.subscribe(SymbolDaysRecorded, lambda _: stopped.stop())
    threads = [threading.Thread(target=run, args=pair) for pair in (("a", stopped), ("b", whole))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert states == {"a": "interrupted", "b": "completed"}
    assert [len([e for e in heard[name] if isinstance(e, BarsStored)]) for name in ("a", "b")] == [1, 4]
    assert stored_rows(tmp_path / "a", "AAPL", TUESDAY) == minutes(TUESDAY, 3, price=10.0)
    assert [stored_rows(tmp_path / "b", s, TUESDAY) for s in SYMBOLS] == [minutes(TUESDAY, 3, price=20.0)] * 4


def test_two_stores_may_keep_their_state_in_one_file_at_the_same_time(tmp_path: Path) -> None:
    state, bars = tmp_path / "both.sqlite", market()
    made = {
        name: pipeline(config(tmp_path / name, SYMBOLS, TUESDAY, WEDNESDAY, state_path=state), ScriptedProvider(bars))
        for name in ("a", "b")
    }
    states: dict[str, str] = {}

    def run(name: str) -> None:
        with made[name] as one:
            states[name] = one.ingest(["AAPL"] if name == "a" else SYMBOLS).state

    threads = [threading.Thread(target=run, args=(name,)) for name in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert states == {"a": "completed", "b": "completed"}
    provider = ScriptedProvider(bars)
    with pipeline(config(tmp_path / "a", SYMBOLS, TUESDAY, FRIDAY, state_path=state), provider) as one:
        report = one.ingest(end=WEDNESDAY)
        assert (report.planned, report.already_settled) == (6, 2)
        assert [len(p.status().jobs) for p in (one,)] == [2]
