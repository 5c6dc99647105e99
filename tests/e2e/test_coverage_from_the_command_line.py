"""coverage, plan, update and audit as a user sees them: real processes, real files, a real server on loopback."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from marketpipe import load_ohlcv
from marketpipe.testing import Response, sessions
from tests.support.alpaca_loopback import AlpacaLoopback, Bars, Fault, Record, record
from tests.support.cli_process import marketpipe, result_of, start_marketpipe

FIRST, LAST = "2024-01-02", "2024-01-19"
SESSIONS = sessions(FIRST, LAST)
DATES = [str(session.trading_date) for session in SESSIONS]
MIDDLE = DATES[6]


def liquid(price: float = 100.0) -> list[Record]:
    """Return a bar in every third minute of each regular session: liquid enough, and quick to ingest."""
    moments = (session.opens.plus(timedelta(minutes=m)) for session in SESSIONS for m in range(0, 390, 3))
    return [record(str(moment), price) for moment in moments]


def on(records: list[Record], date: str) -> list[Record]:
    return [bar for bar in records if bar["t"].startswith(date)]


def without(date: str, traded: Bars) -> Bars:
    """Return the bars of a provider that withholds the date of MSFT."""
    return {**traded, "MSFT": [bar for bar in traded["MSFT"] if not bar["t"].startswith(date)]}


@contextmanager
def alpaca(
    folder: Path,
    bars: Mapping[str, list[Record]],
    fault: Fault | None = None,
    traded: Bars | None = None,
    **settings: str,
) -> Iterator[AlpacaLoopback]:
    with AlpacaLoopback(bars, fault=fault, traded=traded) as server:
        values = {"symbols": "[AAPL, MSFT]", "start": FIRST, "end": LAST, **settings}
        text = "".join(f"{key}: {value}\n" for key, value in values.items())
        (folder / "config.yaml").write_text(
            f'provider: alpaca\n{text}alpaca: {{base_url: "{server.url}", rate_limit_per_min: 600}}\n'
        )
        yield server


def run(folder: Path, *words: str) -> Any:
    return marketpipe(*words, "--config", "config.yaml", cwd=folder)


def path_of(folder: Path, symbol: str, date: str) -> Path:
    year, month, day = date.split("-")
    return folder / "data" / f"symbol={symbol}" / f"year={year}" / f"month={month}" / f"day={day}.parquet"


def test_plan_then_ingest_then_coverage(tmp_path: Path) -> None:
    with alpaca(tmp_path, {"AAPL": liquid(), "MSFT": liquid(50.0)}) as server:
        plan = run(tmp_path, "plan")
        assert plan.returncode == 0
        assert "26 symbol-days to request (0 already settled, 0 not begun yet)" in plan.stdout
        assert server.requests == []
        assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]

        ingested = run(tmp_path, "ingest")
        assert ingested.returncode == 0
        assert "the plan expected about 10,140 bars in" in ingested.stdout

        covered = run(tmp_path, "coverage")
        assert covered.returncode == 0
        assert f"2 symbols, 13 sessions, {FIRST} to {LAST}: complete" in covered.stdout
        assert f"AAPL {'█' * 13}" in covered.stdout


def test_gaps_are_listed_with_exit_code_1_and_filled_with_one_request_each(tmp_path: Path) -> None:
    with alpaca(tmp_path, {"AAPL": liquid(), "MSFT": liquid(50.0)}) as server:
        run(tmp_path, "ingest")
        path_of(tmp_path, "AAPL", MIDDLE).unlink()
        damaged = path_of(tmp_path, "MSFT", DATES[9])
        damaged.write_bytes(damaged.read_bytes()[:-200])
        asked = len(server.requests)

        gaps = run(tmp_path, "coverage")
        assert gaps.returncode == 1
        assert f"AAPL {MIDDLE} missing: its file is gone" in gaps.stdout
        assert f"MSFT {DATES[9]} suspect (file altered)" in gaps.stdout
        assert "NOT complete: 1 missing, 1 suspect" in gaps.stdout
        assert f"AAPL {'█' * 6}x{'█' * 6}" in gaps.stdout
        assert "'marketpipe ingest --config config.yaml' requests only what is missing or damaged" in gaps.stdout

        assert run(tmp_path, "ingest").returncode == 0
        assert len(server.requests) - asked == 2
        assert run(tmp_path, "coverage").returncode == 0


def test_coverage_as_json_has_every_day_with_its_evidence(tmp_path: Path) -> None:
    traded = {"AAPL": liquid(), "MSFT": liquid(50.0)}
    with alpaca(tmp_path, without(MIDDLE, traded), traded=traded):
        run(tmp_path, "ingest")
        done = run(tmp_path, "coverage", "--json")

    report = result_of(done)
    assert (done.returncode, report["complete"], report["sessions"]) == (1, False, 13)
    assert len(report["days"]) == 26
    (gap,) = report["gaps"]
    assert (gap["symbol"], gap["first"], gap["verdict"], gap["suspicion"]) == ("MSFT", MIDDLE, "suspect", "withheld")
    assert gap["evidence"] == "official"
    first = report["days"][0]
    assert (first["bars"], first["first"], first["last"]) == (130, "2024-01-02T14:30:00Z", "2024-01-02T20:57:00Z")


def test_suspect_sessions_are_requested_again_with_retry_suspect(tmp_path: Path) -> None:
    traded = {"AAPL": liquid(), "MSFT": liquid(50.0)}
    with alpaca(tmp_path, without(MIDDLE, traded), traded=traded):
        run(tmp_path, "ingest")
    with alpaca(tmp_path, traded) as healthy:
        assert result_of(run(tmp_path, "plan", "--json"))["planned"] == 0
        assert result_of(run(tmp_path, "plan", "--retry-suspect", "--json"))["planned"] == 1
        assert run(tmp_path, "ingest", "--retry-suspect").returncode == 0
        assert len(healthy.requests) == 1
        assert run(tmp_path, "coverage").returncode == 0


def test_a_restated_day_is_found_and_adopted_and_both_versions_can_be_loaded(tmp_path: Path) -> None:
    with alpaca(tmp_path, {"AAPL": liquid(), "MSFT": liquid(50.0)}):
        run(tmp_path, "ingest")
    known = load_ohlcv("AAPL", FIRST, LAST, root=tmp_path)
    moment = _newest_moment(tmp_path)
    restated = [{**bar, "c": 100.75} if bar["t"].startswith(MIDDLE) else bar for bar in liquid()]
    first_fails: Fault = lambda number, _: Response(503) if number == 0 else None  # noqa: E731
    with alpaca(tmp_path, {"AAPL": restated, "MSFT": liquid(50.0)}, first_fails):
        seen = run(tmp_path, "audit", "--symbols", "AAPL", "--start", DATES[5], "--end", DATES[7])
        assert seen.returncode == 1
        assert f"AAPL {MIDDLE}: 130 changed" in seen.stdout
        assert "3 symbol-days compared in 2 requests, 1 of them differs" in seen.stdout
        assert "faults of the provider: 1 unavailable; 1 retry" in seen.stdout
        assert load_ohlcv("AAPL", FIRST, LAST, root=tmp_path).equals(known)

        assert run(tmp_path, "audit", "--symbols", "AAPL", "--adopt").returncode == 0
        assert run(tmp_path, "audit", "--symbols", "AAPL").returncode == 0
        assert run(tmp_path, "coverage").returncode == 0

    now = load_ohlcv("AAPL", MIDDLE, MIDDLE, root=tmp_path)
    assert now["close"].unique().to_pylist() == [100.75]
    assert load_ohlcv("AAPL", FIRST, LAST, root=tmp_path, as_of=moment).equals(known)


def _newest_moment(folder: Path) -> str:
    """Return when the newest of the day files was stored."""
    from marketpipe import Timestamp

    newest = max(path.stat().st_mtime_ns for path in (folder / "data").rglob("*.parquet"))
    return str(Timestamp.from_epoch_micros(newest // 1000))


def test_a_split_in_an_adjusted_dataset_is_reported_with_the_command_that_adopts_it(tmp_path: Path) -> None:
    with alpaca(tmp_path, {"AAPL": liquid(), "MSFT": liquid(50.0)}):
        _adjust(tmp_path)
        run(tmp_path, "ingest")
    halved = [{**bar, **{key: bar[key] / 2 for key in ("o", "h", "l", "c", "vw")}, "v": 2000} for bar in liquid()]
    with alpaca(tmp_path, {"AAPL": halved, "MSFT": liquid(50.0)}):
        _adjust(tmp_path)
        seen = run(tmp_path, "audit", "--sample", "10%")
        assert "all prices by the ratio 0.5: likely a split" in seen.stdout
        command = f"marketpipe audit --config config.yaml --symbols AAPL --start {FIRST} --end {LAST} --adopt"
        assert command in seen.stdout
        assert marketpipe(*command.split()[1:], cwd=tmp_path).returncode == 0

    assert max(load_ohlcv("AAPL", FIRST, LAST, root=tmp_path)["high"].to_pylist()) == 50.5


def _adjust(folder: Path) -> None:
    file = folder / "config.yaml"
    file.write_text(file.read_text().replace("{base_url", "{adjustment: split, base_url"))


def test_a_second_update_does_nothing_and_says_why(tmp_path: Path) -> None:
    asked, go_on = threading.Event(), threading.Event()

    def hold(*_: object) -> None:
        asked.set()
        go_on.wait(60)

    with alpaca(
        tmp_path, {"AAPL": liquid(), "MSFT": liquid(50.0)}, fault=hold, symbols="[AAPL]", workers="1"
    ) as server:
        first = start_marketpipe("update", "--config", "config.yaml", cwd=tmp_path)
        assert asked.wait(60)
        before = len(server.requests)
        second = run(tmp_path, "update")
        requests = len(server.requests) - before
        go_on.set()
        first.communicate(timeout=60)

    assert (first.returncode, second.returncode, second.stdout) == (0, 0, "")
    assert "an update, compact, drop, recover or copy of this store is running" in second.stderr
    assert "nothing was done" in second.stderr
    assert requests == 0


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("audit", "--sample", "2"), "'2' is not a share such as 2%"),
        (("audit",), "give a sample, symbols or dates"),
        (("coverage", "--start", "2024-13-01"), "2024-13-01"),
        (("coverage", "--symbols", "../x"), "is not a symbol"),
        (("coverage", "--start", "2024-02-01", "--end", "2024-01-01"), "is before start"),
        (("plan", "--end", "newest"), "newest"),
        (("update", "--symbols", ""), "is not a symbol"),
    ],
)
def test_bad_input_gets_a_message_and_exit_code_2_before_anything_is_written(
    tmp_path: Path, words: tuple[str, ...], complaint: str
) -> None:
    with alpaca(tmp_path, {}) as server:
        done = run(tmp_path, *words)

    assert (done.returncode, done.stdout) == (2, "")
    assert complaint in done.stderr
    assert "Traceback" not in done.stderr
    assert server.requests == []
    assert not (tmp_path / "data").exists()


def test_coverage_and_plan_need_no_keys(tmp_path: Path) -> None:
    no_keys = {"ALPACA_KEY": "", "ALPACA_SECRET": ""}
    with alpaca(tmp_path, {}):
        for command in ("coverage", "plan"):
            done = marketpipe(command, "--config", "config.yaml", "--json", cwd=tmp_path, env=no_keys)
            assert "credentials" not in done.stderr
            assert json.loads(done.stdout)
