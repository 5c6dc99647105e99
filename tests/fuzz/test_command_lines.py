"""Every command ends with exit code 0, 1 or 2 on any input, without a traceback, and writes only to its own paths."""

from __future__ import annotations

from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from marketpipe.cli import COMMANDS as TABLE
from marketpipe.cli import app_for
from tests.support.in_process_cli import run_in_process
from tests.support.nasty import fuzzed, joined, no_symbols, symbols
from tests.support.watched_folder import WatchedFolder

pytestmark = pytest.mark.slow
COMMANDS = typer.main.get_group(app_for(TABLE)).commands
CONFIG = "provider: synthetic\nsymbols: [AAPL]\nstart: 2024-01-02\nend: 2024-01-03\ntimeframes: [1d]\n"
RECENT = CONFIG + "".join(
    f"{name}_path: recent/{name}\n" for name in ("output", "aggregates", "quarantine", "revisions", "state")
)
"""The date of today for ``update``, which ingests up to it."""
WORDS = st.sampled_from(
    ["", " ", "-", "--", "-1", "0", "nan", "1e999", "9" * 400, "é", "\udcff", "\n", "%", "None", "🂡"]
)
PATHS = st.sampled_from(
    [
        "",
        ".",
        "..",
        "/",
        "~",
        "~nobody",
        "bars",
        "a\nb",
        "x" * 300,
        "y/" * 200,
        "config.yaml",
        "/dev/null",
        "../new",
        "\udcff",
    ]
)
DATES = st.sampled_from(
    [
        "2024-01-02",
        "2024-01-03",
        "2024-01-04",
        "2024-01-06",
        "2024-02-30",
        "0001-01-01",
        "9999-12-31",
        "2024-1-2",
        "٢٠٢٤-٠١-٠٢",
    ]
)
QUERIES = st.sampled_from(
    [
        "SELECT * FROM bars",
        "SELECT count(*) FROM bars_1d",
        "SELECT 1; SELECT 2",
        "COPY bars TO 'x.csv'",
        "ATTACH 'x.db'",
        "SELECT * FROM read_text('config.yaml')",
        "SELECT * FROM glob('../*')",
        "PRAGMA version",
        "SELECT '\0'",
        "SELECT 1/0, 'x'::INT",
        "EXPLAIN ANALYZE SELECT * FROM bars",
        "'",
        "/* ",
        "SELECT $1",
    ]
)
VALUES: dict[str, st.SearchStrategy[str]] = {
    "config": st.sampled_from(
        ["config.yaml", "config.yaml", "missing.yaml", ".", "/dev/null", "", "\udcff", "x" * 300]
    ),
    "symbols": st.lists(symbols | no_symbols, max_size=3).map(joined),
    "root": st.sampled_from(["", ".", "missing", "config.yaml", "\udcff"]),  # another folder is another store
    "log_format": st.sampled_from(["text", "json", "yaml"]),
    "start": DATES,
    "end": DATES,
    "workers": st.sampled_from(["1", "64", "65", "0", "-1", "1.5", "４"]),
    "provider": st.sampled_from(["synthetic", "synthetic", "alpaca", "acme", "symbols", "../x"]),
    "feed": st.sampled_from(["iex", "sip", "IEX"]),
    "output_path": PATHS,
    "compression": st.sampled_from(["zstd", "snappy", "gzip"]),
    "session": st.sampled_from(["extended", "regular", "night"]),
    "sample": st.sampled_from(["2%", "100%", "0.5", "nan", "nan%", "inf%", "-1%", "101%", "%", "1e-400%"]),
    "lock": PATHS,
    "timeframes": st.sampled_from(["5m", "1h,1d", "1m", "0m", "5M", ",", "1d,1d"]),
    "sql": QUERIES,
}
SERVES_FOR_EVER = {"serve"}
WRITES_WHERE_IT_IS_ASKED_TO = {"init"}


@st.composite
def command_lines(draw: st.DrawFn) -> list[str]:
    """Draw a command with some of its options, and sometimes an argument that it does not take."""
    name = draw(st.sampled_from(sorted(COMMANDS.keys() - WRITES_WHERE_IT_IS_ASKED_TO)))
    words = [name]
    for option in draw(st.permutations([each for each in COMMANDS[name].params if each.name not in SERVES_FOR_EVER])):
        if option.param_type_name == "argument" or (option.name == "config" or draw(st.booleans())):
            words += _option_with_value(draw, name, option)
    extra = draw(st.lists(WORDS, max_size=1)) if not draw(st.integers(0, 4)) else []
    return [*draw(st.sampled_from([[], [], ["--debug"], ["--version"]])), *words, *extra]


def _option_with_value(draw: st.DrawFn, command: str, option: Any) -> list[str]:
    if getattr(option, "is_flag", False):
        return [option.opts[0]]
    usual = VALUES.get(option.name, WORDS)
    value = draw(st.one_of(usual, usual, usual, WORDS))
    if (command, value) == ("update", "config.yaml"):
        value = "recent.yaml"
    return [value] if option.param_type_name == "argument" else [option.opts[0], value]


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> WatchedFolder:
    """Return a folder with a store of two days."""
    template = tmp_path_factory.mktemp("template")
    (template / "config.yaml").write_text(CONFIG)
    days = [f"{date.today() - timedelta(days=before)}" for before in (5, 4)]  # noqa: DTZ011 - update reads that clock too
    (template / "recent.yaml").write_text(RECENT.replace("2024-01-02", days[0]).replace("2024-01-03", days[1]))
    assert run_in_process("ingest", "--config", "config.yaml", cwd=template).code == 0
    return WatchedFolder(tmp_path_factory.mktemp("watched") / "root", template)


def may_write_to(words: list[str]) -> list[Path]:
    """Return the default paths, and the values of ``--output-path`` with the areas beside each."""
    outputs = [Path(after).expanduser() for word, after in pairwise(words) if word == "--output-path"]
    areas = ("", "aggregates", "quarantine", "revisions", "official", "state")
    prefixed = [path.with_name(f"{path.name}_{area}".rstrip("_")) for path in outputs if path.name for area in areas]
    named = [*outputs, *prefixed, *(path.with_name(area) for path in outputs if path.name for area in areas[1:])]
    return [
        *map(Path, ("data", "aggregates", "quarantine", "revisions", "state", "recent")),
        *(path for path in named if path.name),
    ]


@fuzzed(60)
@given(words=command_lines())
def test_any_command_line_succeeds_or_reports_an_error(watched: WatchedFolder, words: list[str]) -> None:
    watched.begin()
    watched.look()

    ended = run_in_process(*words, cwd=watched.cwd)

    assert ended.code in (0, 1, 2), ended
    assert "--debug" in words or ended.is_clean(), ended
    assert ended.code == 0 or ended.err.strip()
    assert ended.code != 2 or not watched.changed()
    assert not watched.changed_outside(may_write_to(words))
