"""Whatever else is done to a store while a real process ingests into it: nothing fails, and nothing is lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from marketpipe import Pipeline
from tests.support.alpaca_loopback import AlpacaLoopback, record
from tests.support.child_processes import LONGEST_SECONDS, wait_until
from tests.support.cli_process import marketpipe, start_marketpipe
from tests.support.shared_store import (
    BARS,
    BARS_A_DAY,
    DAYS,
    EVERY_DAY,
    PAGE,
    SEEDED,
    SYMBOLS,
    days_asked,
    ends_well,
    opened,
    rows_of_state,
    seed,
    slowly,
    write_config,
)

pytestmark = pytest.mark.slow
RESTATED = {symbol: [record(bar["t"], bar["o"] + 0.25) for bar in bars] for symbol, bars in BARS.items()}
TRADED = {
    symbol: [
        restated if (symbol, bar["t"][:10]) in SEEDED else bar
        for bar, restated in zip(bars, RESTATED[symbol], strict=True)
    ]
    for symbol, bars in BARS.items()
}
"""What the official days are made of: those of restated minutes were right from the beginning."""


def _audit_and_adopt(pipeline: Pipeline) -> None:
    """Adopt days that were stored before the ingestion began: no other process requests these."""
    for symbol, day in sorted(SEEDED):
        report = pipeline.audit(symbol, day, day, adopt=True)
        assert report.adopted is None or report.adopted.ok


def _verify(pipeline: Pipeline) -> None:
    """A day between its new file and its checkpoint is no problem."""
    report = pipeline.verify()
    assert report.problems == ()
    assert report.suspect == 0


def _update(pipeline: Pipeline) -> None:
    assert pipeline.update(SYMBOLS[:2]).ok


def _look(pipeline: Pipeline) -> None:
    pipeline.status()
    assert pipeline.coverage(SYMBOLS, DAYS[0], DAYS[-1]).days() != ()
    assert pipeline.validate(SYMBOLS[:1]).ok
    pipeline.plan(SYMBOLS, DAYS[0], DAYS[-1])


def _aggregate(pipeline: Pipeline) -> None:
    assert pipeline.aggregate().ok


def test_others_at_work_beside_an_ingestion_neither_fail_nor_lose_anything(tmp_path: Path) -> None:
    with (
        AlpacaLoopback(BARS, page_size=PAGE, fault=slowly(0.02), traded=TRADED) as provider,
        AlpacaLoopback(RESTATED, page_size=PAGE, traded=TRADED) as restated,
    ):
        config, audited = (write_config(tmp_path / name, url) for name, url in _addresses(provider, restated))
        seed(config, tmp_path)
        ingestion = start_marketpipe("ingest", "--config", config, cwd=tmp_path)
        errors = list[BaseException]()
        works = [(audited, _audit_and_adopt), *((config, work) for work in (_verify, _update, _look, _aggregate))]
        threads = [
            threading.Thread(target=_again_and_again, args=(config_file, tmp_path, work, ingestion.poll, errors))
            for config_file, work in works
        ]
        for thread in threads:
            thread.start()
        ends_well([ingestion])
        for thread in threads:
            thread.join(LONGEST_SECONDS)

        assert errors == []
        assert days_asked(provider) == dict.fromkeys(EVERY_DAY, 1)
        with opened(config, tmp_path) as pipeline:
            pipeline.aggregate()
            assert pipeline.verify().ok
            assert pipeline.coverage(SYMBOLS, DAYS[0], DAYS[-1]).ok
            assert pipeline.ingest(SYMBOLS, DAYS[0], DAYS[-1]).requests == 0
            _is_restated_where_that_was_adopted(pipeline)
    assert rows_of_state(tmp_path, "SELECT * FROM claims") == []
    assert not [path for path in (tmp_path / "state").iterdir() if path.name.endswith(".bak")]


def test_a_state_is_not_set_aside_under_an_ingestion(tmp_path: Path) -> None:
    """It would go on writing to a state that is no longer used."""
    go = threading.Event()
    with AlpacaLoopback(BARS, page_size=PAGE, fault=lambda _, __: go.wait(60) and None) as provider:
        config = write_config(tmp_path, provider.url)
        ingestion = start_marketpipe("ingest", "--config", config, cwd=tmp_path)
        wait_until(lambda: bool(provider.requests))
        refused = marketpipe("recover", "--force", "--config", config, cwd=tmp_path)
        go.set()
        ends_well([ingestion])

        assert refused.returncode == 1
        assert "a process is using this state" in refused.stderr
        assert len(rows_of_state(tmp_path, "SELECT * FROM partitions")) == len(EVERY_DAY)
        assert days_asked(provider) == dict.fromkeys(EVERY_DAY, 1)
        with opened(config, tmp_path) as pipeline:
            assert pipeline.recover(force=True).symbol_days == len(EVERY_DAY)


def _addresses(provider: AlpacaLoopback, restated: AlpacaLoopback) -> list[tuple[str, str]]:
    return [("as-it-was", provider.url), ("restated", restated.url)]


def _again_and_again(
    config: str,
    folder: Path,
    work: Callable[[Pipeline], None],
    ended: Callable[[], object],
    errors: list[BaseException],
) -> None:
    """Each time as another process would: with a pipeline of its own, and not all the time."""
    try:
        while ended() is None:
            time.sleep(0.15)
            with opened(config, folder) as pipeline:
                try:
                    work(pipeline)
                except BaseException as error:
                    if ended() is None:
                        raise
                    error.add_note("the ingestion had ended")
    except BaseException as error:  # noqa: BLE001 - it is for the main thread to say
        errors.append(error)


def _is_restated_where_that_was_adopted(pipeline: Pipeline) -> None:
    table = pipeline.load(SYMBOLS, DAYS[0], DAYS[-1])
    days = zip(table["symbol"].to_pylist(), table["timestamp"].to_pylist(), table["open"].to_pylist(), strict=True)
    restated = {(symbol, str(moment.date())) for symbol, moment, price in days if price % 1}
    assert restated == SEEDED
    assert len(table) == len(EVERY_DAY) * BARS_A_DAY
