"""Commands and library calls succeed with any configuration, or refuse it before anything is changed."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from marketpipe import MarketPipeError, Pipeline, PipelineConfig
from marketpipe.config import load_config
from marketpipe.config.classes import SECTIONS, known_keys
from tests.support.in_process_cli import run_in_process, within
from tests.support.nasty import NO_SYMBOLS, damaged, damages, fuzzed, symbols
from tests.support.watched_folder import WatchedFolder

pytestmark = pytest.mark.slow
VALID: dict[str, Any] = {
    "provider": "synthetic",
    "symbols": ["AAPL", "BRK.B"],
    "start": "2024-01-02",
    "end": "2024-01-03",
    "timeframes": ["1d"],
    "workers": 2,
    "output_path": "data",
    "state_path": "state/marketpipe.sqlite",
    "synthetic": {"seed": 7},
    "validation": {"severities": {"no_jump": "off"}},
    "metrics": {"enabled": False},
    "coverage": {"neighbours": 10},
}
PATHS = [
    *(
        "",
        "..",
        ".",
        "/",
        "../new",
        "~/new",
        "~nobody/x",
        "a\0b",
        "a\nb",
        "x" * 300,
        "y/" * 300,
        "data",
        "data/../data",
    ),
    *(
        "config.yaml",
        "config.yaml/x",
        "/dev/null",
        "/dev/null/x",
        "/proc/1/x",
        "aggregates/",
        "💥",
        "'",
        "[a]*?",
        "%2e",
    ),
]
HOSTS = [
    "127.0.0.1",
    "",
    " ",
    "\0",
    "h" * 300,
    "999.999.1.1",
    "::1",
    "a b",
    "\ud800".encode("utf-8", "replace").decode(),
]
VALUES = st.one_of(
    st.sampled_from(
        [None, True, False, 0, -1, 1.5, float("nan"), float("inf"), 10**30, -(10**400), [], {}, [[]], [{}]]
    ),
    st.sampled_from(
        [*PATHS, *HOSTS, *NO_SYMBOLS, "2024-01-03", "2024-02-30", "latest", "alpaca", "5m", "regular", "off"]
    ),
    st.lists(st.sampled_from([*NO_SYMBOLS, "AAPL", "5m", "1d", 7, None, ["AAPL"]]), max_size=3),
    st.dictionaries(st.sampled_from(["seed", "feed", "x", "port", "host", 5, None]), st.integers(), max_size=2),
    st.lists(symbols, min_size=1, max_size=3),
)
BY_KEY: dict[str, st.SearchStrategy[Any]] = {
    **{key: st.sampled_from(PATHS) for key in known_keys(PipelineConfig) if key.endswith("_path")},
    "metrics": st.fixed_dictionaries({"enabled": st.just(True), "host": st.sampled_from(HOSTS), "port": st.just(0)}),
    "symbols": st.lists(st.sampled_from(NO_SYMBOLS) | symbols, min_size=1, max_size=3),
    "timeframes": st.lists(st.sampled_from(["5m", "30m", "4h", "1d"]), max_size=4),
    "validation": st.fixed_dictionaries(
        {
            "severities": st.dictionaries(
                st.sampled_from(["no_jump", "prices_finite", "x"]), st.sampled_from(["off", "error"])
            )
        }
    ),
}
KEYS = sorted({*known_keys(PipelineConfig), "acme", "symbol", "alpaca_key"})
COMMANDS = st.sampled_from(["ingest", "ingest", "plan", "coverage", "verify", "aggregate", "status", "providers"])


@st.composite
def texts(draw: st.DrawFn) -> bytes:
    """Draw a valid file in which a few keys are changed, removed or added; sometimes its text is damaged."""
    values = dict(VALID)
    for key in draw(st.lists(st.sampled_from(KEYS), min_size=1, max_size=3)):
        if draw(st.integers(0, 5)):
            values[key] = draw(st.one_of(BY_KEY.get(key, VALUES), VALUES))
        else:
            values.pop(key, None)
    if section := draw(st.sampled_from([None, None, *SECTIONS])):
        values[section] = {draw(st.sampled_from(known_keys(SECTIONS[section]))): draw(VALUES)}
    text = yaml.safe_dump(values, allow_unicode=draw(st.booleans())).encode("utf-8", "surrogatepass")
    return text if draw(st.integers(0, 4)) else damaged(text, draw(damages))


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> WatchedFolder:
    return WatchedFolder(tmp_path_factory.mktemp("watched") / "root")


def places(file: Path) -> list[Path]:
    """Return the configured paths; none if the file is refused, because then nothing may be written."""
    try:
        config = load_config(file)
    except MarketPipeError:
        return []
    names = ("output_path", "aggregates_path", "quarantine_path", "revisions_path", "official_path", "copies_path")
    return [*(getattr(config, name) for name in names), config.state_path.parent]


@fuzzed(60)
@given(text=texts(), command=COMMANDS)
def test_any_configuration_works_or_is_refused(watched: WatchedFolder, text: bytes, command: str) -> None:
    watched.begin()
    (watched.cwd / "config.yaml").write_bytes(text)
    watched.look()

    ended = run_in_process(command, "--config", "config.yaml", cwd=watched.cwd)

    assert ended.is_clean(), ended
    assert ended.code == 0 or ended.out.strip() or ended.err.strip()
    assert ended.code != 2 or not watched.changed()
    with watched.inside():
        assert not watched.changed_outside(places(Path("config.yaml")))


@fuzzed(40)
@given(text=texts())
def test_a_library_call_raises_only_our_own_errors(watched: WatchedFolder, text: bytes) -> None:
    watched.begin()
    (watched.cwd / "config.yaml").write_bytes(text)
    with watched.inside(), within(60), suppress(MarketPipeError), Pipeline.from_config("config.yaml") as pipeline:
        pipeline.plan()
        pipeline.coverage()
