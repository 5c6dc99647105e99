"""Tests of how much a command prints, and in which form."""

from __future__ import annotations

import io
import json
import logging
import os

import pytest
from rich.console import Console
from rich.live import Live

from marketpipe.terminal.verbosity import Verbosity, in_force, is_wanted, warnings_shown, width_of, write_error_line

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


@pytest.mark.parametrize("name", ["marketpipe.config", "marketpipe.storage.damage"])
def test_a_warning_that_a_user_must_see_is_shown_once_and_only_within_the_block(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    logger = logging.getLogger(name)
    with warnings_shown():
        logging.getLogger("marketpipe.storage").warning("for the log alone")
        logger.warning(".env can be read by %s", "others")
    with warnings_shown():
        pass
    logger.warning("later")
    assert lines(capsys) == ["warning: .env can be read by others"]


def test_lines_are_put_above_a_line_of_progress_that_is_drawn() -> None:
    output = io.StringIO()
    with Live("progress", console=Console(file=output, force_terminal=True, width=40), auto_refresh=False) as live:
        live.refresh()
        write_error_line("stopping", "warning")
    _, _, after_the_first_drawing = output.getvalue().partition("progress")
    assert not after_the_first_drawing.startswith("stopping")
    assert "\x1b[2Kstopping" in after_the_first_drawing
