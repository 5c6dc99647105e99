"""Reads the dashboard, and the rules of Prometheus, as Grafana and Prometheus do."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml
from attrs import frozen

ROOT: Final = Path(__file__).parents[2]
FOLDER: Final = ROOT / "dashboards"
DASHBOARD: Final = FOLDER / "grafana" / "marketpipe.json"
RULES: Final = (FOLDER / "prometheus" / "recording_rules.yml", FOLDER / "prometheus" / "alerts.yml")
RULE_TESTS: Final = [FOLDER / "prometheus" / "tests" / f"{name}_test.yml" for name in ("alerts", "weekends")]
INTERVAL: Final = "$__rate_interval"
"""What Grafana replaces by four scrape intervals at least."""


@frozen
class PanelQuery:
    panel: str
    expression: str


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(DASHBOARD.read_text("utf-8"))
    return found


def panels() -> Iterator[dict[str, Any]]:
    """Yield all panels but rows; those of a row that is collapsed are inside it."""
    for each in dashboard()["panels"]:
        yield from each.get("panels", ())
        if each["type"] != "row":
            yield each


def queries(**variables: str) -> list[PanelQuery]:
    """Return the queries of all panels, with the variables replaced."""
    return [
        PanelQuery(panel["title"], replaced(target["expr"], variables))
        for panel in panels()
        for target in panel["targets"]
    ]


def replaced(expression: str, variables: Mapping[str, str]) -> str:
    for name, value in variables.items():
        expression = expression.replace(f"${name}", value)
    return expression


def rules(kind: str) -> dict[str, dict[str, Any]]:
    """Return the rules of a kind, "alert" or "record", by their name."""
    groups = [group for path in RULES for group in yaml.safe_load(path.read_text("utf-8"))["groups"]]
    return {rule[kind]: rule for group in groups for rule in group["rules"] if kind in rule}
