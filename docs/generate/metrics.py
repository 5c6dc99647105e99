"""The page of all Prometheus series, from the table that the program itself uses."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from docs.generate.tables import code, table

from marketpipe.metrics.series import ALL, BUILD_INFO, LATENCY_BUCKETS, STORE_LABELS, Origin, Series

INTRODUCTION: Final = f"""# Metrics

Every series but `marketpipe_build_info` has the labels {", ".join(map(code, STORE_LABELS))}, so that several stores in one
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
        parts.append(f"\n## {title}\n\n{text}\n\n" + _table(each for each in ALL if each.origin is origin))
    parts.append("\n## The program\n\n" + _table([BUILD_INFO]))
    return "".join(parts)


def _table(series: Iterable[Series]) -> str:
    rows = [(code(each.full_name), f"{each.type}, {each.unit}", _labels(each), each.help) for each in series]
    return table(("metric", "type and unit", "further labels", "meaning, and what to do"), rows)


def _labels(series: Series) -> str:
    return "; ".join(
        f"{code(label)}: {', '.join(series.values[label])}" if label in series.values else code(label)
        for label in series.labels
    )
