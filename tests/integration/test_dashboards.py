"""The files in dashboards/: what Grafana and Prometheus need of them, and that they name what exists."""

from __future__ import annotations

import re
from collections import Counter
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from marketpipe.cli import COMMANDS, app_for
from marketpipe.metrics import series
from tests.support.child_processes import run
from tests.support.dashboard_files import FOLDER, RULE_TESTS, RULES, dashboard, panels, queries, rules
from tests.support.examples import thoroughly
from tests.support.installed import PACKAGES, needs

CURRENT_TYPES = {"bargauge", "heatmap", "state-timeline", "stat", "table", "timeseries"}
"""Panels of Grafana that are not deprecated, as graph and singlestat are."""
UNITS = {"bytes", "dateTimeFromNow", "none", "percentunit", "reqps", "s", "short"}
OWN_UNITS = ("suffix: ", "time:")
OF_GRAFANA = {"__rate_interval"}
FINAL_SCHEMA = 42
"""The last version of this JSON model of dashboards."""
COLUMNS = 24
NOT_SHOWN = (
    *(series.RATE_LIMIT_WAITS, series.LEASE_WAITS, series.JOB_END),
    *(series.STORE_NEWEST_FINAL, series.STORE_SYMBOL_DAYS),
)
"""Of these, a panel shows what says more: seconds of waits, successes, the lag, verdicts."""
OF_SCRAPES = {"job", "instance", "le"}
ALERTS, RECORDS = rules("alert"), rules("record")
EXPRESSIONS = {
    **{f"{query.panel} {number}": query.expression for number, query in enumerate(queries())},
    **{name: rule["expr"] for name, rule in (ALERTS | RECORDS).items()},
}


def test_the_dashboard_is_of_the_current_json_model() -> None:
    found = dashboard()

    assert (found["schemaVersion"], found["uid"], found["id"]) == (FINAL_SCHEMA, "marketpipe", None)
    assert {panel["type"] for panel in panels()} == CURRENT_TYPES
    ids = Counter(panel["id"] for panel in found["panels"])
    titles = Counter(panel["title"] for panel in found["panels"])
    assert {*ids.values(), *titles.values()} == {1}


def test_each_panel_explains_itself_and_has_a_unit_and_the_chosen_data_source() -> None:
    for panel in panels():
        assert panel["description"].endswith("."), panel["title"]
        places = [panel["datasource"], *(target["datasource"] for target in panel["targets"])]
        assert places == [{"type": "prometheus", "uid": "${datasource}"}] * len(places)
        for unit in _units(panel):
            assert unit in UNITS or unit.startswith(OWN_UNITS), (panel["title"], unit)
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])


def _units(panel: dict[str, Any]) -> list[str]:
    changed = [each for override in panel["fieldConfig"]["overrides"] for each in override["properties"]]
    return [panel["fieldConfig"]["defaults"]["unit"], *(each["value"] for each in changed if each["id"] == "unit")]


def test_no_panel_lies_upon_another_or_beyond_the_edge() -> None:
    places = [panel["gridPos"] for panel in dashboard()["panels"]]

    assert all(place["x"] + place["w"] <= COLUMNS for place in places)
    for one, other in combinations(places, 2):
        apart = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        assert apart or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"], (one, other)


def test_there_is_a_row_for_each_provider_and_every_variable_is_used() -> None:
    variables = {each["name"]: each for each in dashboard()["templating"]["list"]}
    used = {name for query in queries() for name in re.findall(r"\$(\w+)", query.expression)}

    assert [row["repeat"] for row in dashboard()["panels"] if "repeat" in row] == ["provider"]
    assert used - OF_GRAFANA == {*variables} - {"datasource"} == {"job", "store", "provider"}
    assert variables["datasource"]["type"] == "datasource"
    assert [variables[name]["multi"] for name in ("job", "store", "provider")] == [False, True, True]


def test_every_series_is_in_a_panel_or_an_alert() -> None:
    named = {
        each.removesuffix("_bucket") for text in EXPRESSIONS.values() for each in re.findall(r"marketpipe_\w+", text)
    }

    assert {each.full_name for each in series.ALL if each not in NOT_SHOWN} <= named


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_a_query_names_series_and_labels_that_exist(name: str) -> None:
    expression, table = EXPRESSIONS[name], {each.full_name: each for each in series.ALL}
    named = {each.removesuffix("_bucket") for each in re.findall(r"(?<![\w:])marketpipe_\w+", expression)}
    recorded = set(re.findall(r"store:\w+(?::\w+)+", expression))

    assert named <= {*table}
    assert recorded <= {*RECORDS}
    assert named or recorded or expression.startswith("up{")
    known = {*series.STORE_LABELS, *OF_SCRAPES, *(label for each in named for label in table[each].labels)}
    groups = re.findall(r"(?:by|without) \(([^)]*)\)", expression)
    labels = {label.strip() for group in groups for label in group.split(",")}
    labels |= set(re.findall(r"(\w+)(?:=~|!~|!=|=)\"", expression))
    assert labels <= known
    for label, values in re.findall(r"(\w+)(?:=~|!~|!=|=)\"([^$\"]+)\"", expression):
        possible = {value for each in named for value in table[each].values.get(label, ())}
        assert label in OF_SCRAPES or set(values.split("|")) <= possible, (label, values)


def test_a_legend_names_labels_that_the_query_returns() -> None:
    for panel in panels():
        for target in panel["targets"]:
            named = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
            grouped = re.search(r"by \(([^)]*)\)", target["expr"])
            returned = set(grouped.group(1).split(", ")) if grouped else set()
            assert named <= returned, (panel["title"], target["expr"])


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_what_is_wrong_and_which_command_to_run(name: str) -> None:
    notes = ALERTS[name]["annotations"]

    assert ALERTS[name]["labels"]["severity"] in ("critical", "warning", "info")
    assert [*notes] == ["summary", "description", "runbook"]
    assert _commands(notes["runbook"])


def test_every_command_that_a_panel_or_a_runbook_names_exists_with_its_options() -> None:
    texts = [panel["description"] for panel in panels()]
    texts += [rule["annotations"]["runbook"].replace("{{ $labels.job_kind }}", "update") for rule in ALERTS.values()]

    assert {*series.JOB_KINDS} <= {*COMMANDS}
    for name, *words in (command.split() for text in texts for command in _commands(text)):
        assert name in COMMANDS, name
        group: Any = typer.main.get_command(app_for([name]))
        options = {option for each in group.commands[name].params for option in each.opts}
        assert {word for word in words if word.startswith("--")} <= options, words


def _commands(text: str) -> list[str]:
    return re.findall(r"'marketpipe ([^']+)'", text)


def test_each_alert_is_tested_firing_and_not_firing() -> None:
    tests = [test for file in RULE_TESTS for test in yaml.safe_load(file.read_text("utf-8"))["tests"]]
    checks = [(check["alertname"], bool(check["exp_alerts"])) for test in tests for check in test["alert_rule_test"]]

    assert {*checks} == {(name, fires) for name in ALERTS for fires in (True, False)}


def test_grafana_can_be_provisioned_with_the_dashboard() -> None:
    places = FOLDER / "grafana" / "provisioning"
    (source,) = yaml.safe_load((places / "datasources" / "prometheus.yml").read_text())["datasources"]
    (provider,) = yaml.safe_load((places / "dashboards" / "marketpipe.yml").read_text())["providers"]

    assert (source["type"], source["access"]) == ("prometheus", "proxy")
    assert provider["type"] == "file"
    assert Path(provider["options"]["path"]).is_absolute()


@needs("promtool")
def test_promtool_accepts_the_rules_and_the_example_of_a_configuration(tmp_path: Path) -> None:
    for command in (["rules", *map(str, RULES)], ["config", str(FOLDER / "prometheus" / "prometheus.yml")]):
        done = run(["promtool", "check", *command])
        assert done.returncode == 0, done.stderr


@thoroughly
@needs("promtool")
def test_every_alert_fires_when_it_should_and_only_then() -> None:
    done = run(["promtool", "test", "rules", *map(str, RULE_TESTS)])

    assert done.returncode == 0, done.stdout + done.stderr


def test_ci_installs_every_program_that_tests_start() -> None:
    listed = dict(re.findall(r"([\w-]+):([\w-]+)", (FOLDER.parent / ".ci" / "run").read_text("utf-8")))

    assert {name: listed.get(name, listed.get(PACKAGES[name])) for name in PACKAGES} == PACKAGES
