"""What the report page shows: records of what was found, and columns with an entry for each symbol-day."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from attrs import field, frozen

from marketpipe.ingestion.domain.coverage.verdict import Verdict
from marketpipe.ingestion.domain.store_status import JobRecord
from marketpipe.report_page.embedded_days import EmbeddedDays
from marketpipe.reports import CoverageReport
from marketpipe.shared_kernel.domain.timestamp import Timestamp
from marketpipe.storage.domain.store_survey import QualitySurvey, RestatementSurvey, TimeframeFreshness


@frozen
class StoreFacts:
    """All that the page of one store shows. ``place`` names the store, ``made_at`` is when the facts were collected.

    ``columns`` has the verdicts, counts and measures of every symbol-day: rows are the symbols of ``coverage``, columns
    its sessions. ``rejected`` are bars in quarantine, ``broken`` are stored bars that break a rule.
    """

    place: str
    made_at: Timestamp
    coverage: CoverageReport = field(repr=False)
    columns: Mapping[str, npt.NDArray[np.generic]] = field(repr=False)
    jobs: tuple[JobRecord, ...]
    rejected: QualitySurvey
    broken: QualitySurvey
    restated: RestatementSurvey
    aggregates: tuple[TimeframeFreshness, ...]
    days: EmbeddedDays

    def counts(self) -> dict[str, int]:
        """Return the number of symbol-days of each verdict that occurs."""
        return {str(verdict): count for verdict in Verdict if (count := self.coverage.count(verdict))}


def coverage_columns(report: CoverageReport) -> dict[str, npt.NDArray[np.generic]]:
    """Return the verdicts, the evidence, the numbers of bars, and the first and the last minute, as columns."""
    shape = len(report.symbols), len(report.dates)
    rows = [symbol.columns for symbol in report.symbols]
    minutes = np.array([row.minutes for row in rows], np.int16).reshape(*shape, 2)
    return {
        "verdicts": np.frombuffer(b"".join(row.verdicts for row in rows), np.uint8).reshape(shape),
        "evidence": np.frombuffer(b"".join(row.evidence for row in rows), np.uint8).reshape(shape),
        "bars": np.array([row.bars for row in rows], np.int32).reshape(shape),
        "rejected": np.array([row.rejected for row in rows], np.int32).reshape(shape),
        "first": minutes[..., 0],
        "last": minutes[..., 1],
    }
