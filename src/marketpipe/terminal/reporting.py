"""The report page from the command line: where it was written, or at which address it is served."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from marketpipe.report_page.page import ReportPage
from marketpipe.report_page.server import ReportServer
from marketpipe.reporting import LiveReport
from marketpipe.shared_kernel.domain.errors import count_of
from marketpipe.terminal.output import err, megabytes, out, print_json

if TYPE_CHECKING:
    from marketpipe.pipeline import Pipeline
    from marketpipe.shared_kernel.domain.symbol import Symbol


def print_page(page: ReportPage, written: Path, *, as_json: bool) -> None:
    """Print where the page is, how large it is, and how many symbol-days have their bars in it."""
    if as_json:
        numbers = {name: getattr(page, name) for name in ("symbols", "sessions", "embedded", "stored", "complete")}
        print_json({"path": str(written), "size_bytes": page.size_bytes, **numbers})
        return
    shown = f"{count_of(page.symbols, 'symbol')}, {count_of(page.sessions, 'session')}"
    out(f"wrote {written}: {shown}, {megabytes(page.size_bytes)}; {'complete' if page.complete else 'NOT complete'}")
    if page.embedded < page.stored:
        days = f"{page.embedded:,} of {count_of(page.stored, 'symbol-day')}"
        out(f"it has the bars of {days}: those with a problem and the newest; --bars-mb allows more, --serve shows all")


def serve_report(
    pipeline: Pipeline, symbols: Sequence[Symbol] | None, start: str | None, end: str | None, port: int
) -> None:
    """Serve the page until a signal ends the process. The facts are collected before the address is printed."""
    live = LiveReport(pipeline, symbols, start, end)
    live.payload()
    server = ReportServer(live, port)
    try:
        err(f"serving the report at {server.address}; press Ctrl-C to stop")
        while True:
            time.sleep(3600)
    finally:
        server.close()
