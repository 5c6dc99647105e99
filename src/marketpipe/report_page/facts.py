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
    of_symbols = [symbol.columns for symbol in report.symbols]

    def joined(name: str, kind: type[np.generic]) -> npt.NDArray[np.generic]:
        rows = [getattr(columns, name) for columns in of_symbols]
        flat = b"".join(rows) if rows and isinstance(rows[0], bytes) else None
        found = np.array(rows, kind) if flat is None else np.frombuffer(flat, kind)
        return found.reshape(shape if name != "minutes" else (*shape, 2))

    minutes = joined("minutes", np.int16)
    return {
        "verdicts": joined("verdicts", np.uint8),
        "evidence": joined("evidence", np.uint8),
        "bars": joined("bars", np.int32),
        "rejected": joined("rejected", np.int32),
        "first": minutes[..., 0],
        "last": minutes[..., 1],
    }
