"""The generated reference has every item of the code, and an item that it does not know yet is an error."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from docs.generate import alerts, commands, configuration, exit_codes, files, metrics, names, pages, rules

import marketpipe
from marketpipe import Pipeline, PipelineConfig, testing
from marketpipe.cli import COMMANDS, app_for
from marketpipe.config.classes import SECTIONS, known_keys
from marketpipe.metrics.series import ALL, Origin, Series
from marketpipe.validation.domain.business_rules import BUSINESS_RULES, OFFICIAL_DAY_RULES, SEQUENCE_RULES
from tests.support import dashboard_files

ROOT = Path(__file__).parents[2]
SOURCES = [path.read_text("utf-8") for path in (ROOT / "src" / "marketpipe").rglob("*.py")]


def rows(page: str) -> list[list[str]]:
    """Return the cells of all tables of a page, without the marks of code."""
    lines = [line for line in page.splitlines() if line.startswith("| ")]
    return [[cell.strip(" `") for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def test_every_public_name_is_on_one_page() -> None:
    listed = re.findall(r"^(?:::: marketpipe\.[\w.]+\.|### )(\w+)$", "".join(names.pages().values()), re.M)
    methods = [each.name for each in names.methods_of_other_modules()]
    assert sorted(listed) == sorted([*marketpipe.__all__, *testing.__all__, *methods])
    assert {"load", "export", "health"} <= set(methods)


def test_a_public_name_of_a_new_module_needs_a_page() -> None:
    with pytest.raises(LookupError, match=r"marketpipe.Ticker is of the module feeds: add the module to a page"):
        names.kind_of(names.Name("feeds", "Ticker"))


def test_every_command_and_option_is_on_the_page() -> None:
    page = commands.page()
    for words, command in _commands(typer.main.get_command(app_for(COMMANDS)), "marketpipe"):
        heading = f"### {words}\n"
        assert heading in page, words
        section = page.partition(heading)[2].partition("\n### ")[0]
        for parameter in command.params:
            if parameter.param_type_name == "option" and parameter.name not in exclude():
                assert max(parameter.opts, key=len) in section, (words, parameter.name)
                assert parameter.help, (words, parameter.name)


def exclude() -> set[str]:
    return {"root", "quiet", "verbose", "log_format", "debug", "help"}


def _commands(command: object, words: str) -> Iterator[tuple[str, typer.core.TyperCommand]]:
    for name, each in getattr(command, "commands", {}).items():
        if hasattr(each, "commands"):
            yield from _commands(each, f"{words} {name}")
        else:
            yield f"{words} {name}", each


@pytest.mark.parametrize("kind", [PipelineConfig, *SECTIONS.values()])
def test_every_key_has_a_default_and_a_meaning(kind: type) -> None:
    listed = {row[0]: row[1:] for row in rows(configuration.page())}
    for key in known_keys(kind):
        assert all(listed[key]), key


def test_every_variable_of_the_environment_is_on_the_page() -> None:
    used = {name for text in SOURCES for name in re.findall(r'"(MARKETPIPE_\w+)"', text)}
    assert used <= {row[0] for row in rows(configuration.page())}


def test_every_rule_metric_alert_and_exit_code_is_on_its_page() -> None:
    known = {rule.name for rule in (*BUSINESS_RULES, *SEQUENCE_RULES, *OFFICIAL_DAY_RULES)}
    assert {row[0] for row in rows(rules.page())} >= known
    assert re.findall(r"^### (\w+)$", metrics.page(), re.M) == [series.full_name for series in _in_order()]
    assert {row[0] for row in rows(alerts.page())} >= {
        *dashboard_files.rules("alert"),
        *dashboard_files.rules("record"),
    }
    assert {row[0] for row in rows(exit_codes.page())} >= set(map(str, exit_codes.codes().values()))


def _in_order() -> list[Series]:
    return [series for origin in Origin for series in ALL if series.origin is origin]


def test_every_file_of_a_store_is_on_the_page(tmp_path: Path) -> None:
    config = PipelineConfig(root=tmp_path, provider="synthetic", symbols=["AAPL"], start="2024-11-27", end="2024-11-29")
    with Pipeline(config) as pipeline:
        pipeline.ingest()
    known = {_pattern(path) for path in files.paths()}
    found = {_pattern(str(path.relative_to(tmp_path))) for path in tmp_path.rglob("*") if path.is_file()}
    beside_the_state = {each for each in found if re.match(r"state/(sessions-|marketpipe\.sqlite\.)", each)}
    assert found - beside_the_state <= known
    assert len(found & known) >= 5


def _pattern(path: str) -> str:
    return re.sub(r"=[^/.]+", "=…", path)


def test_no_page_is_written_by_hand_and_generated() -> None:
    assert [path for path in pages() if (ROOT / "docs" / path).exists()] == []
