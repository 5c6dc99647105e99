"""Tests of how much a command prints, and in which form."""

from __future__ import annotations

import json
import logging
import os

import pytest

from marketpipe.terminal.verbosity import Verbosity, in_force, is_wanted, width_of, write_error_line

LOG = logging.getLogger("marketpipe.ingestion")


def lines(captured: pytest.CaptureFixture[str]) -> list[str]:
    return captured.readouterr().err.splitlines()


@pytest.mark.parametrize(
    ("quiet", "ok", "as_json", "expected"),
    [(False, True, False, True), (True, True, False, False), (True, False, False, True), (True, True, True, True)],
)
def test_quiet_hides_only_what_went_well_and_is_not_json(quiet: bool, ok: bool, as_json: bool, expected: bool) -> None:
    with in_force(Verbosity(quiet=quiet)):
        assert is_wanted(ok, as_json) is expected


def test_the_log_is_hidden_unless_it_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    with in_force(Verbosity()):
        LOG.warning("failed")

    assert lines(capsys) == []


def test_verbose_shows_the_log_with_its_level_and_no_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    with in_force(Verbosity(verbose=True)):
        LOG.info("job %d \x1b[2J", 7)
    LOG.info("later")

    [line] = lines(capsys)
    assert "INFO marketpipe.ingestion: job 7" in line
    assert "\x1b" not in line


def test_json_lines_hold_time_level_logger_message_and_exception(capsys: pytest.CaptureFixture[str]) -> None:
    with in_force(Verbosity(as_json=True)):
        LOG.info("not a warning")
        LOG.error("it failed", exc_info=ValueError("why"))
        write_error_line("failed: AAPL", "warning")

    logged, written = map(json.loads, lines(capsys))
    assert (logged["level"], logged["logger"], logged["message"]) == ("error", "marketpipe.ingestion", "it failed")
    assert logged["time"].endswith("Z")
    assert "ValueError: why" in logged["exception"]
    assert (written["level"], written["message"]) == ("warning", "failed: AAPL")


def test_a_terminal_that_does_not_tell_its_size_folds_nothing() -> None:
    ours, theirs = os.openpty()  # a new one has no columns, as under some runners of containers and of tests
    with os.fdopen(ours), os.fdopen(theirs, "w") as stream:
        assert width_of(stream) is None
