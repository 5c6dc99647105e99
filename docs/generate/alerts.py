"""The page of all alerts, from the file that Prometheus reads."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import yaml
from docs.generate.tables import code, table

FOLDER: Final = Path(__file__).parents[2] / "dashboards" / "prometheus"
INTRODUCTION: Final = """# Alerts

The alerts of `dashboards/prometheus/alerts.yml`. [Monitor a store](../how-to/monitor.md) explains how to use them. Each has a summary,
a description and a runbook as annotations. *critical*: what is loaded today may be wrong or old. *warning*: act within a day. *info*:
know it.
"""
SECTIONS: Final = {
    "marketpipe_store": "The store",
    "marketpipe_runs": "Runs",
    "marketpipe_quality": "Quality of the bars",
}


def page() -> str:
    groups = yaml.safe_load((FOLDER / "alerts.yml").read_text("utf-8"))["groups"]
    recorded = yaml.safe_load((FOLDER / "recording_rules.yml").read_text("utf-8"))["groups"]
    parts = [INTRODUCTION]
    for group in groups:
        rows = [_row(rule) for rule in group["rules"]]
        titles = "alert", "severity", "fires if", "for", "what to do"
        parts.append(f"\n## {SECTIONS[group['name']]}\n\n" + table(titles, rows))
    parts.append(
        "\n## Recorded ratios and rates\n\nThe alerts use some of them; they are quicker than their queries.\n\n"
    )
    rules = [(code(rule["record"]), code(rule["expr"].strip())) for group in recorded for rule in group["rules"]]
    parts.append(table(("record", "query"), rules))
    return "".join(parts)


def _row(rule: dict[str, Any]) -> tuple[str, ...]:
    runbook = rule["annotations"]["runbook"].replace("{{ $labels.job_kind }}", "…")
    advice = re.sub(r"'(marketpipe [^']+)'", r"`\1`", runbook)
    return (
        code(rule["alert"]),
        rule["labels"]["severity"],
        code(rule["expr"].strip()),
        rule.get("for", "at once"),
        advice,
    )
