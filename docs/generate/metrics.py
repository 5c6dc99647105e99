"""The page of all Prometheus series, from the table that the program itself uses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from docs.generate.tables import code

from marketpipe.metrics.series import ALL, LATENCY_BUCKETS, STORE_LABELS, Origin, Series

INTRODUCTION: Final = f"""# Metrics

Every series has the labels {", ".join(map(code, STORE_LABELS))}, so that several stores in one
Prometheus are never added up. `store` is `metrics.store` of the configuration, or else the absolute path of the bars;
`session` is `extended` or `regular`. No series has a symbol as a label. Moments are Unix seconds. The buckets of the
histogram end at {", ".join(f"{each:g}" for each in LATENCY_BUCKETS)} seconds.

[Monitor a store](../how-to/monitor.md) explains how they get to Prometheus.
"""
SECTIONS: Final = {
    Origin.RUN: (
        "What a run does",
        "Counted in the registry of the pipeline that runs. `marketpipe metrics` prints the totals of all runs so far.",
    ),
    Origin.PROGRESS: ("How far a run is", "They mean nothing after the end of the run, and are not kept."),
    Origin.JOBS: ("The last jobs", "As the state of the store has recorded them."),
    Origin.STORE: ("What the store has", "Measured from time to time, at most every `metrics.refresh_seconds`."),
}


def page() -> str:
    parts = [INTRODUCTION]
    for origin in Origin:
        title, text = SECTIONS[origin]
        parts += [f"\n## {title}\n\n{text}\n", *(_entry(each) for each in ALL if each.origin is origin)]
    return "".join(parts)


def _entry(series: Series) -> str:
    """A heading for each, because a name is too long for the column of a table, and can then be linked to."""
    kind = (
        f"A {series.type}; " + (series.unit if series.unit.startswith(("always", "1 ")) else f"in {series.unit}") + "."
    )
    labels = "".join(f"- {each}\n" for each in _labels(series))
    return f"\n### {series.full_name}\n\n{series.help}\n\n{kind}" + (f" Labels:\n\n{labels}" if labels else "\n")


def _labels(series: Series) -> Iterator[str]:
    for label in series.labels:
        values = ", ".join(map(code, series.values.get(label, ())))
        yield f"{code(label)}: {values}" if values else code(label)
