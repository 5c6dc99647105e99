"""The report page of a small store: what it says is what the store has, and nothing in it can act."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from marketpipe import ConfigurationError, Pipeline, ReportPage
from marketpipe.reporting import BARS_MB, LONGEST_AGE, LiveReport
from marketpipe.testing import FakeClock
from tests.support.child_processes import start
from tests.support.in_process_cli import run_in_process
from tests.support.pipeline_ring import FRIDAY, THURSDAY, TUESDAY, WEDNESDAY, fingerprints, minutes, pipeline
from tests.support.reported_store import DATES, SYMBOLS, facts_in, provider, reported_store
from tests.support.run_environment import environment


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    with reported_store(tmp_path_factory.mktemp("reported")) as made:
        yield made


@pytest.fixture(scope="module")
def page(store: Pipeline) -> ReportPage:
    return store.report()


@pytest.fixture(scope="module")
def facts(page: ReportPage) -> dict[str, Any]:
    return facts_in(page.html)


def unpacked(column: dict[str, str]) -> np.ndarray[Any, Any]:
    kind = np.dtype(column["kind"])
    planes = np.frombuffer(zlib.decompress(base64.b64decode(column["data"])), np.uint8)
    return np.frombuffer(planes.reshape(kind.itemsize, -1).T.tobytes(), kind)


def test_the_page_counts_what_coverage_counts(store: Pipeline, facts: dict[str, Any], page: ReportPage) -> None:
    report = store.coverage()

    assert facts["symbols"] == list(SYMBOLS)
    assert facts["dates"] == list(DATES)
    assert facts["complete"] is report.ok is page.complete is False
    verdicts = [facts["verdicts"][code] for code in unpacked(facts["columns"]["verdicts"])]
    assert verdicts == [str(day.verdict) for day in report.days()]
    assert unpacked(facts["columns"]["bars"]).tolist() == [day.bars for day in report.days()]
    assert sum(facts["counts"].values()) == len(verdicts)


def test_gaps_have_their_reasons(store: Pipeline, facts: dict[str, Any]) -> None:
    gaps, report = facts["gaps"], store.coverage()

    assert gaps["all"] == len(report.gaps()) + len(report.notes())
    missing = gaps["symbol"].index(SYMBOLS.index("BRK.B"))
    assert (gaps["first"][missing], gaps["last"][missing], gaps["sessions"][missing]) == (0, 3, 4)
    assert "window.hacked" in gaps["reasons"][gaps["reason"][missing]][1]


def test_rejected_and_warned_bars_are_shown_with_their_values(facts: dict[str, Any]) -> None:
    assert facts["rejected"]["rules"] == [
        {"rule": "high_is_highest", "severity": "error", "kind": "rejected", "bars": 1, "symbol_days": 1}
    ]
    (example,) = facts["rejected"]["examples"]
    assert (example["symbol"], example["date"], example["values"][2]) == ("AAPL", WEDNESDAY, 500.0)
    (warned,) = [rule for rule in facts["broken"]["rules"] if rule["rule"] == "vwap_within_range"]
    assert (warned["severity"], warned["bars"]) == ("warning", 1)
    assert [each["date"] for each in facts["broken"]["examples"] if each["rule"] == "vwap_within_range"] == [THURSDAY]


def test_a_restated_day_is_compared_with_what_followed(facts: dict[str, Any]) -> None:
    assert facts["restated"]["found"] == 1
    (restated,) = facts["restated"]["days"]
    assert (restated["symbol"], restated["date"]) == ("MSFT", THURSDAY)
    assert (restated["changed"], restated["removed"], restated["added"]) == (39, 1, 0)
    assert restated["since"] < restated["until"]


def test_official_days_and_volumes_are_columns(facts: dict[str, Any]) -> None:
    columns = facts["columns"]

    volume, stated = unpacked(columns["volume"]), unpacked(columns["official_volume"])
    assert volume[:1] == stated[:1] == 40 * minutes(TUESDAY, 1)[0]["volume"]
    assert np.isfinite(unpacked(columns["volume"])).tolist() == [True] * 4 + [False] * 4 + [True] * 4
    assert unpacked(columns["difference"])[[0, 10]].tolist() == [0, pytest.approx(0.01, abs=0.002)]


def test_aggregates_are_counted_and_stale_ones_named(tmp_path: Path) -> None:
    with reported_store(tmp_path) as store:
        next((tmp_path / "aggregates" / "timeframe=5m" / "symbol=MSFT").rglob("*.parquet")).unlink()
        found = {each["timeframe"]: each for each in facts_in(store.report().html)["aggregates"]}

    assert (found["5m"]["fresh"], found["5m"]["absent"]) == (1, 1)
    assert found["5m"]["names"] == [["MSFT 2024-01", "absent"]]
    assert (found["1d"]["fresh"], found["1d"]["stale"]) == (2, 0)


def test_bars_of_problems_come_first_if_not_all_fit(store: Pipeline) -> None:
    day = len(store.report(bars_mb=1).html) - len(store.report(bars_mb=0).html)
    small = store.report(bars_mb=day / 8 * 4 / 1e6)
    everything = store.report()

    assert (everything.embedded, everything.stored) == (8, 8)
    assert "Inside this file" not in everything.html
    assert f"the bars of {small.embedded} of 8 symbol-days" in small.html
    assert 0 < small.embedded < 8
    cells = unpacked(facts_in(small.html)["embedded"]["cells"]).tolist()
    assert SYMBOLS.index("MSFT") * 4 + DATES.index(THURSDAY) in cells  # it was restated


@pytest.mark.parametrize(("megabytes", "read"), [(0, 0), (0.002, 8), (1, 8)])
def test_no_symbol_day_is_checked_twice(store: Pipeline, megabytes: float, read: int) -> None:
    broken = facts_in(store.report(bars_mb=megabytes).html)["broken"]

    assert (broken["read"], broken["all"]) == (read, 8)
    assert [rule["bars"] for rule in broken["rules"] if rule["rule"] == "vwap_within_range"] == [1] * bool(read)


def test_a_live_page_shows_within_a_minute_what_changes_no_state(tmp_path: Path) -> None:
    with reported_store(tmp_path) as store:
        clock, live = store._parts.clock, LiveReport(store, None, None, None)
        assert isinstance(clock, FakeClock)
        first = live.payload()
        before = unpacked(first["columns"]["volume"])
        next((tmp_path / "data" / "symbol=MSFT").rglob("*.parquet")).unlink()
        assert live.payload() == first
        clock.advance(LONGEST_AGE)
        second = live.payload()
        clock.advance(LONGEST_AGE)
        third = live.payload()

    assert second["tag"] != first["tag"]
    gone = np.isnan(unpacked(second["columns"]["volume"])) & np.isfinite(before)
    assert np.count_nonzero(gone) == 1  # the figures of its minutes agree with nothing
    assert second["totals"]["problems"] == first["totals"]["problems"] + 1
    assert third == {**second, "made_at": third["made_at"]}  # nothing is drawn again
    assert third["made_at"] > second["made_at"]


def test_a_live_page_goes_on_with_the_state_that_was_recovered(tmp_path: Path) -> None:
    with reported_store(tmp_path) as made:
        settings = made.config
    with pipeline(settings, provider(), FakeClock()) as reading:
        live = LiveReport(reading, None, None, None)
        jobs = live.payload()["jobs"]
        assert run_in_process("recover", "--force", cwd=tmp_path).code == 0
        assert (len(jobs), live.payload()["jobs"]) == (2, [])


def test_the_facts_of_another_server_are_not_taken_for_those_of_this(store: Pipeline) -> None:
    tags = {LiveReport(store, None, None, None).payload()["tag"] for _ in range(2)}

    assert len(tags) == 2


def test_no_text_of_others_can_leave_its_place(page: ReportPage) -> None:
    assert "window.hacked=1</script>" not in page.html
    assert "<img src=x" not in page.html
    assert "\u2028" not in page.html
    assert "\u202e" not in page.html
    scripts = re.findall(r"<script[^>]*>", page.html)
    assert scripts == [
        '<script type="application/json" id="facts">',
        "<script>",
        '<script type="text/plain" id="library">',
        '<script type="text/plain" id="bars">',
    ]


def test_the_policy_of_the_page_allows_no_request_and_no_other_script(page: ReportPage) -> None:
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', page.html)
    assert policy is not None
    rules = dict(part.strip().partition(" ")[::2] for part in policy[1].replace("&#39;", "'").split(";"))

    assert rules["default-src"] == "'none'"
    assert rules["connect-src"] == "'none'"
    assert all(re.fullmatch(r"'sha256-[\w+/=]{44}'", each) for each in rules["script-src"].split())
    assert not re.search(r'(?:src|href)="(?:https?:)?//', page.html)


def test_a_notebook_shows_what_the_page_has_and_not_the_page(page: ReportPage) -> None:
    shown = page._repr_html_()

    assert "symbol-days with bars in the page" in shown
    assert len(shown) < 2000


def test_a_report_changes_nothing(store: Pipeline) -> None:
    root = store.config.output_path.parent
    before = fingerprints(root)

    store.report()

    assert fingerprints(root) == before


def test_a_range_without_official_days_and_aggregates_is_a_page_too(store: Pipeline) -> None:
    page = store.report("MSFT", FRIDAY, FRIDAY)

    assert (page.symbols, page.sessions) == (1, 1)


def test_a_page_does_not_replace_a_file_unless_it_is_told_to(page: ReportPage, tmp_path: Path) -> None:
    path = page.write(tmp_path / "report.html")
    assert path.read_text("utf-8") == page.html
    assert page.size_bytes == path.stat().st_size

    with pytest.raises(ConfigurationError, match="exists"):
        page.write(path)
    page.write(path, overwrite=True)
    with pytest.raises(ConfigurationError, match="no folder"):
        page.write(tmp_path / "nowhere" / "report.html")
    with pytest.raises(ConfigurationError, match="is not a file"):
        page.write(tmp_path)
    with pytest.raises(ConfigurationError, match="too long; give another name"):
        page.write(tmp_path / ("a" * 300))
    page.write(tmp_path / ("a" * 255)).unlink()
    assert [each.name for each in tmp_path.iterdir()] == ["report.html"]


@pytest.mark.parametrize(
    "place",
    [
        "state/marketpipe.sqlite",
        "state/report.html",
        "data/symbol=AAPL/year=2024/month=01/day=02.parquet",
        *(f"{area}/report.html" for area in ("data", "official", "revisions", "aggregates", "quarantine")),
        "notes.yaml",
        "pipe",
    ],
)
def test_no_page_replaces_a_file_of_the_store_or_what_is_no_page(store: Pipeline, page: ReportPage, place: str) -> None:
    root = store.config.output_path.parent
    (root / "notes.yaml").write_text("symbols: []")
    (root / "pipe").unlink(missing_ok=True)
    os.mkfifo(root / "pipe")
    before = fingerprints(root / "state") | fingerprints(root / "data")

    with pytest.raises(ConfigurationError, match=r"inside the store|no HTML page|not a file"):
        page.write(root / place, overwrite=True)
    refused = run_in_process("report", "--output", place, "--overwrite", "--bars-mb", "-1", cwd=root)

    assert refused.code == 2
    assert "bars_mb" not in refused.err  # it is refused before anything else
    assert fingerprints(root / "state") | fingerprints(root / "data") == before
    (root / "pipe").unlink()
    (root / "notes.yaml").unlink()


def test_the_command_serves_the_page_until_it_is_interrupted(store: Pipeline, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "marketpipe", "--root", str(store.config.output_path.parent), "report", "--serve"]
    served = start(command, cwd=tmp_path, env=environment())
    line = served.stderr.readline()
    address = re.search(r"http://127\.0\.0\.1:\d+/", line)
    assert address is not None, line
    page = httpx.get(address[0], trust_env=False)
    served.send_signal(signal.SIGINT)

    assert served.wait(60) == 130
    assert facts_in(page.text)["live"] is True
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--serve", "--output", "x.html", "--bars-mb", "0"), "leave out --output, --bars-mb"),
        (("--serve", "--overwrite", "--json"), "leave out --overwrite, --json"),
        (("--port", "8780"), "--port belongs to --serve"),
    ],
)
def test_options_that_would_be_ignored_are_refused(options: tuple[str, ...], message: str, tmp_path: Path) -> None:
    refused = run_in_process("report", *options, cwd=tmp_path)

    assert (refused.code, message in " ".join(refused.err.split())) == (2, True), refused.err
    assert f"usually {BARS_MB:g}" in " ".join(run_in_process("report", "--help", cwd=tmp_path).out.split())


def test_the_command_writes_the_page_and_refuses_what_is_in_its_place(store: Pipeline, tmp_path: Path) -> None:
    root, to = store.config.output_path.parent, ("--output", str(tmp_path / "report.html"))

    done = run_in_process("report", *to, "--json", cwd=root)
    again = run_in_process("report", *to, cwd=root)
    unknown = run_in_process("report", *to, "--overwrite", "--symbols", "NOPE", cwd=root)

    assert done.code == 0, done.err
    assert json.loads(done.out)["stored"] == 8
    assert facts_in((tmp_path / "report.html").read_text("utf-8"))["symbols"] == list(SYMBOLS)
    assert (again.code, again.out) == (2, "")
    assert "--overwrite" in again.err
    assert unknown.code == 2
