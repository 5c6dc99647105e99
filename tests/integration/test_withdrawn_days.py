"""Days that the provider withdraws: their bars stay until it repeats that it has none, and as revisions for good."""

from __future__ import annotations

from pathlib import Path

import pytest

from marketpipe import Outcome, Pipeline, Verdict
from marketpipe.shared_kernel.domain.errors import ProviderUnavailableError
from marketpipe.testing import FakeClock
from tests.support.builders import day
from tests.support.pipeline_ring import config, minutes, pipeline
from tests.support.scripted_provider import ScriptedProvider

TUESDAY, WEDNESDAY, THURSDAY = "2024-01-02", "2024-01-03", "2024-01-04"
IN_SESSION, AFTERWARDS = "2024-01-04T15:00:00Z", "2024-01-05T12:00:00Z"
THIN = day("THIN", THURSDAY)


def begin(root: Path, now: str, bars: int = 1) -> tuple[Pipeline, ScriptedProvider, FakeClock]:
    dates = {date: minutes(date, bars) for date in (TUESDAY, WEDNESDAY, THURSDAY)}
    provider, clock = ScriptedProvider({"THIN": dates}), FakeClock(now)
    settings = config(root, ["THIN"], TUESDAY, THURSDAY, timeframes=("1d",))
    return pipeline(settings, provider, clock), provider, clock


def verdicts(made: Pipeline) -> list[Verdict]:
    return [found.verdict for found in made.coverage().days()]


@pytest.mark.parametrize("bars", [1, 5])
def test_a_partial_day_that_is_withdrawn_is_settled_by_the_second_empty_answer(tmp_path: Path, bars: int) -> None:
    made, provider, clock = begin(tmp_path, IN_SESSION, bars)
    with made:
        made.ingest()
        before = clock.now()
        clock.advance(86_400)
        del provider.bars["THIN"][THURSDAY]

        first = made.ingest()
        kept = made.load("THIN", THURSDAY, THURSDAY).num_rows
        second = made.ingest()

        assert (first.ok, kept) == (False, bars)
        assert (second.ok, second.outcomes[THIN].outcome) == (True, Outcome.EMPTY)
        assert made.load("THIN", THURSDAY, THURSDAY).num_rows == 0
        assert made.load("THIN", THURSDAY, THURSDAY, "1d").num_rows == 0
        assert made.load("THIN", THURSDAY, THURSDAY, as_of=before).num_rows == bars
        assert made.load("THIN", THURSDAY, THURSDAY, as_of=clock.now()).num_rows == 0
        assert made.ingest().planned == 0
        assert made.verify().ok
        assert verdicts(made) == [Verdict.COMPLETE, Verdict.COMPLETE, Verdict.EMPTY]


def test_a_complete_day_that_is_withdrawn_is_found_by_the_audit_and_settled_by_the_next_ingestion(
    tmp_path: Path,
) -> None:
    made, provider, clock = begin(tmp_path, AFTERWARDS)
    with made:
        made.ingest()
        before = clock.now()
        clock.advance(60)
        del provider.bars["THIN"][WEDNESDAY]

        report = made.audit(start=TUESDAY, end=THURSDAY)
        assert (report.withdrawn, made.ingest().planned) == ([day("THIN", WEDNESDAY)], 0)

        made.audit(start=TUESDAY, end=THURSDAY, adopt=True)
        assert made.load("THIN", WEDNESDAY, WEDNESDAY).num_rows == 1
        assert made.ingest().ok

        assert made.load("THIN", TUESDAY, THURSDAY).num_rows == 2
        assert made.load("THIN", TUESDAY, THURSDAY, as_of=before).num_rows == 3
        assert made.audit(start=TUESDAY, end=THURSDAY).ok


def test_bars_that_return_after_they_were_withdrawn_are_a_new_version(tmp_path: Path) -> None:
    made, provider, clock = begin(tmp_path, AFTERWARDS)
    with made:
        seen = []
        for change in (lambda: None, lambda: provider.bars["THIN"].pop(WEDNESDAY), lambda: None):
            change()
            made.ingest()
            made.audit(start=TUESDAY, end=THURSDAY, adopt=True)
            made.ingest()
            seen.append((clock.now(), made.load("THIN", WEDNESDAY, WEDNESDAY).num_rows))
            clock.advance(60)
        provider.bars["THIN"][WEDNESDAY] = minutes(WEDNESDAY, 1)
        made.audit(start=TUESDAY, end=THURSDAY, adopt=True)
        seen.append((clock.now(), made.load("THIN", WEDNESDAY, WEDNESDAY).num_rows))

        assert [rows for _, rows in seen] == [1, 0, 0, 1]
        assert [made.load("THIN", WEDNESDAY, WEDNESDAY, as_of=moment).num_rows for moment, _ in seen] == [1, 0, 0, 1]


def test_other_failures_between_two_empty_answers_do_not_confirm_the_first(tmp_path: Path) -> None:
    made, provider, clock = begin(tmp_path, IN_SESSION)
    with made:
        made.ingest()
        clock.advance(86_400)
        held = provider.bars["THIN"].pop(THURSDAY)
        made.ingest()
        provider.errors["THIN"] = ProviderUnavailableError("down")
        made.ingest()
        provider.errors.clear()
        made.ingest()
        assert made.load("THIN", THURSDAY, THURSDAY).num_rows == 1

        provider.bars["THIN"][THURSDAY] = held
        assert made.ingest().ok
        assert verdicts(made) == [Verdict.COMPLETE] * 3


def test_a_run_that_is_killed_before_the_checkpoint_settles_the_day_in_the_next_one(tmp_path: Path) -> None:
    made, provider, clock = begin(tmp_path, IN_SESSION)
    with made:
        made.ingest()
        clock.advance(86_400)
        del provider.bars["THIN"][THURSDAY]
        made.ingest()
    (file,) = (tmp_path / "data").rglob("day=04.parquet")
    content = file.read_bytes()
    again, *_ = begin(tmp_path, "2024-01-05T15:00:00Z")
    with pipeline(again.config, provider, clock) as made:
        made.ingest()
        assert not file.exists()
    file.write_bytes(content)  # as if the file had been removed, and that were not durable
    with pipeline(again.config, provider, clock) as made:
        for _ in range(3):
            made.ingest()

        assert made.load("THIN", THURSDAY, THURSDAY).num_rows == 0
        assert made.verify().ok
