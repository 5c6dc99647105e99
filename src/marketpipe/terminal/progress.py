"""The progress of an ingestion or an audit: one live line on a terminal, a bar in a notebook, or plain lines."""

from __future__ import annotations

import math
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

from marketpipe.pipeline import Pipeline
from marketpipe.shared_kernel.domain.errors import count_of
from marketpipe.shared_kernel.events import Event, MetricsNotServed, MetricsServed
from marketpipe.terminal.notebook import notebook_bar
from marketpipe.terminal.output import err, printable
from marketpipe.terminal.run_counts import RunCounts
from marketpipe.terminal.verbosity import verbosity

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

SECONDS_BETWEEN_LINES = 5.0
SHORTEST_MENTIONED = 5.0
"""Seconds of a wait that has a line of its own."""
REFRESHES_PER_SECOND = 4
TERMINAL_VARIABLES: Final = ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE")
"""With one of them a user tells rich that standard error is a terminal, whatever it seems to be."""
BAR_WIDTHS = ((107, 24), (75, 10))
"""The least width of a line, and the width of the bar on it."""
ECHO = "^C"
"""What a terminal writes behind the line if Ctrl-C is pressed: on the same line, it is drawn over."""
SEPARATOR = " · "
DAYS: Final = RunCounts().unit


@contextmanager
def show_progress(pipeline: Pipeline) -> Iterator[None]:
    """Show what the pipeline does within the block: below the cell of a notebook, else on standard error.

    Use it as ``with show_progress(pipeline): pipeline.ingest()``, once for a pipeline.
    """
    if verbosity().quiet or verbosity().as_json:
        yield
        return
    if _is_a_plain_file():
        _show_lines(pipeline)
        yield
        return
    from rich.console import Console

    console = Console(stderr=True)
    if console.is_jupyter:
        with notebook_bar(_as_line) as show:
            follow(pipeline, show)
            yield
        return
    if not console.is_terminal or verbosity().verbose:  # lines of the log would tear a bar apart
        _show_lines(pipeline)
        yield
        return
    with progress_bar(console) as show:
        follow(pipeline, show)
        _announce_metrics(pipeline)
        yield


@contextmanager
def show_steps(activity: str, unit: str) -> Iterator[Callable[[int, int], None]]:
    """Yield a function that shows how many ``unit``s of how many are done: on one live line, or else on lines, of
    which the first is written after five seconds.
    """
    counts = RunCounts(activity=activity, unit=unit)

    def step(done: int, of: int, show: Callable[[RunCounts], None] = lambda _: None) -> None:
        counts.step(done, of)
        show(counts)

    if verbosity().quiet or verbosity().as_json:
        yield step
        return
    if not _is_a_plain_file():
        from rich.console import Console

        console = Console(stderr=True)
        if console.is_terminal and not verbosity().verbose:
            with progress_bar(console) as show:
                show(counts)
                yield partial(step, show=show)
            return
    yield partial(step, show=ProgressLines(err, first_after=SECONDS_BETWEEN_LINES).show)


def _is_a_plain_file() -> bool:
    """Return whether standard error is neither a terminal nor a notebook: then rich need not be imported to see it."""
    is_terminal = sys.stderr.isatty() or any(os.environ.get(name) for name in TERMINAL_VARIABLES)
    return not is_terminal and "IPython" not in sys.modules


def _show_lines(pipeline: Pipeline) -> None:
    follow(pipeline, ProgressLines(err).show)
    _announce_metrics(pipeline)


def _announce_metrics(pipeline: Pipeline) -> None:
    """Write where the metrics are, or that there are none, as the run begins: they are gone when it has ended."""
    pipeline.subscribe(MetricsServed, lambda event: err(f"metrics are served at {event.address}"))
    pipeline.subscribe(MetricsNotServed, lambda event: err(f"warning: no metrics are served: {event.reason}"))


def follow(pipeline: Pipeline, show: Callable[[RunCounts], None]) -> None:
    """Count the events of a pipeline and call ``show`` after each."""
    counts, lock = RunCounts(), threading.Lock()

    def on_event(event: Event) -> None:
        with lock:  # events come on several threads: one of them at a time counts and shows
            if counts.add(event):
                show(counts)

    pipeline.subscribe(Event, on_event)


@contextmanager
def progress_bar(console: Console) -> Iterator[Callable[[RunCounts], None]]:
    """Draw a line in place while the block runs. Yields the function that changes what it shows."""
    from rich.live import Live
    from rich.text import Text

    shown: list[RunCounts] = []

    def line() -> Text:  # drawn several times a second, so that waits count down while nothing happens
        width = console.width - len(ECHO) - 1
        return progress_line(shown[0], width, console.encoding) if shown else Text("planning")

    live = Live(
        console=console,
        get_renderable=line,
        refresh_per_second=REFRESHES_PER_SECOND,
        redirect_stdout=False,  # what is printed to a file must not go to the terminal
    )
    with live:

        def show(counts: RunCounts) -> None:
            shown[:] = [counts]

        yield show
        live.refresh()


def progress_line(counts: RunCounts, width: int, encoding: str = "utf-8") -> Text:
    """Return one line of at most ``width`` columns, in ASCII if the encoding lacks one of its characters.

    Activity, count, percentage and time to go are always there, then as much as fits: first what the run waits for.
    """
    from rich.text import Text

    line = Text(no_wrap=True, overflow="crop")
    for text, style in ((counts.activity, "bold"), *_position(counts, width)):
        line.append(printable(text, encoding), style)
    separator = printable(SEPARATOR, encoding)
    for text, style in _details(counts):
        shown = printable(text, encoding)
        if len(line) + len(separator) + len(shown) <= width:
            line.append(separator, "bright_black").append(shown, style)
    return line


def _position(counts: RunCounts, width: int) -> Iterator[tuple[str, str]]:
    if not counts.planned:
        yield " nothing to request" if counts.planned == 0 and counts.unit == DAYS else "", ""
        return
    for least, cells in BAR_WIDTHS:
        if width >= least:
            done = int(cells * counts.share)
            yield from ((" ", ""), ("━" * done, "green"), ("─" * (cells - done), "bright_black"))
            break
    yield f" {counts.done:,}/{counts.planned:,} {counts.percent}%", ""
    if counts.has_ended:
        yield f" in {_clock(counts.elapsed())}", ""
    elif (seconds := counts.seconds_left()) is not None:
        yield f" ETA {_clock(seconds)}", ""


def _details(counts: RunCounts) -> Iterator[tuple[str, str]]:
    """Yield what else is to be said, and its style, the most important first."""
    if counts.unit != DAYS:
        return
    for wait in counts.waits():
        yield wait, "bold"
    if counts.failed:
        yield f"{counts.failed:,} failed", "red"
    yield count_of(counts.bars, "bar"), ""
    if counts.rejected:
        yield f"{counts.rejected:,} rejected", ""
    if counts.retries:
        yield count_of(counts.retries, "retry", "retries"), ""
    if (pace := counts.pace()) is not None:
        yield f"{pace:,.0f} bars/s", ""
    yield count_of(counts.requests, "request"), ""
    if counts.official:
        yield count_of(counts.official, "official day"), ""
    if counts.settled:
        yield f"{counts.settled:,} already settled", ""


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


class ProgressLines:
    """A line at the start, at most one every five seconds, one if a long wait begins, and one when all is done."""

    def __init__(
        self, write: Callable[[str], None], now: Callable[[], float] = time.monotonic, *, first_after: float = 0.0
    ) -> None:
        """With ``first_after`` no line is written in the first seconds, nor at the end of what takes no longer."""
        self._write, self._now = write, now
        self._written_at, self._all_done, self._waited = -SECONDS_BETWEEN_LINES, False, False
        self._quiet_until = now() + first_after if first_after else -math.inf

    def show(self, counts: RunCounts) -> None:
        now, all_done = self._now(), counts.all_done
        if now < self._quiet_until:
            return
        waits = counts.longest_wait() >= SHORTEST_MENTIONED
        is_due = now - self._written_at >= SECONDS_BETWEEN_LINES
        if is_due or (all_done and not self._all_done) or (waits and not self._waited):
            self._written_at, self._all_done, self._waited = now, all_done, waits
            self._write(_as_line(counts))


def _as_line(counts: RunCounts) -> str:
    details = ", ".join(text for text, _ in _details(counts))
    if counts.planned is None:
        return f"{counts.activity}, {details}"
    left = None if counts.has_ended else counts.seconds_left()
    position = f", {counts.percent}%, ETA {_clock(left)}" if left is not None else ""
    shown = f"{counts.done:,} of {count_of(counts.planned, counts.unit)}{position}"
    return f"{shown}, {details}" if details else f"{counts.activity}: {shown}"
