"""The finished page: the template filled with the facts, the styles, the scripts and the chart library."""

from __future__ import annotations

import base64
import hashlib
import os
import zlib
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from threading import get_ident
from typing import TYPE_CHECKING, Final

from attrs import field, frozen

from marketpipe.report_html import facts as table_of_facts
from marketpipe.report_page.facts import StoreFacts
from marketpipe.report_page.payload import Json, payload
from marketpipe.shared_kernel.domain.errors import ConfigurationError, StorageError
from marketpipe.shared_kernel.infrastructure.written_files import NO_PLACES, OwnPlaces, checked_target

if TYPE_CHECKING:
    from jinja2 import Template

HERE: Final = Path(__file__).parent
SCRIPTS: Final = ("columns", "elements", "tables", "heatmap", "charts", "day", "views", "main")
"""In this order: each uses names of those before it. Together they are one script, and so have one hash."""
POLICY: Final = (
    "default-src 'none'; base-uri 'none'; form-action 'none'; img-src data: blob:; style-src 'unsafe-inline'"
)
"""No request leaves the page, whatever is in it. The charts set styles on their elements, which can load nothing."""
DOCTYPE: Final = b"<!doctype html"
INSTALL: Final = "the report page needs Jinja2 and plotly: pip install 'marketpipe[report]', then run this again"


@frozen
class ReportPage:
    """One self-contained HTML file. ``html`` is its text; ``embedded`` symbol-days of ``stored`` have bars in it."""

    html: str = field(repr=lambda html: f"<{len(html):,} characters>")
    symbols: int
    sessions: int
    embedded: int
    stored: int
    complete: bool
    _own: OwnPlaces = field(default=NO_PLACES, repr=False)

    @property
    def size_bytes(self) -> int:
        return len(self.html.encode())

    def _repr_html_(self) -> str:
        """Return what a notebook shows: how large the page is, and how it is saved."""
        named = {
            "symbols": self.symbols,
            "sessions": self.sessions,
            "symbol-days with bars in the page": self.embedded,
            "symbol-days with bars": self.stored,
            "MB": self.size_bytes / 1e6,
        }
        return table_of_facts("Report page", named, ('its method write("report.html") saves it',))

    def write(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write the page to a file, which appears when it is complete, and return its path.

        Raises ``ConfigurationError`` for a file that exists, unless ``overwrite`` and it is a page, for a path of the
        store, and for a folder that does not exist; ``StorageError`` if it cannot be written.
        """
        target = checked_page(path, self._own, overwrite=overwrite)
        temporary = target.with_name(
            f".report.{os.getpid()}-{get_ident()}.tmp"
        )  # short: the name of the page may be long
        try:
            temporary.write_text(self.html, "utf-8", newline="")
            temporary.replace(target)
        except OSError as error:
            raise StorageError(f"{target} cannot be written: {error.strerror or error}") from error
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
        return target


def checked_page(path: str | Path, own: OwnPlaces, *, overwrite: bool) -> Path:
    """Return the path of a page that can be written there; ``own`` is the store's. Changes nothing.

    Raises ``ConfigurationError``, also for a file that is not to be lost by a slip: one that is no page.
    """
    target = checked_target(path, own, overwrite=overwrite)
    try:
        with target.open("rb") as stream:
            begins = stream.read(len(DOCTYPE) + 1).lower()
    except FileNotFoundError:
        return target
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror or error}; name another file") from error
    if begins and not begins.startswith(DOCTYPE):
        raise ConfigurationError(f"{path} is no HTML page: name another file, or remove it first")
    return target


def page_of(facts: StoreFacts, own: OwnPlaces = NO_PLACES) -> ReportPage:
    """Return the page of these facts; it will not be written to what is the store's ``own``.

    Raises ``ConfigurationError`` if the extra ``report`` is not installed."""
    return ReportPage(
        rendered(payload(facts), "\n".join(facts.days.packed.values())),
        len(facts.coverage.symbols),
        len(facts.coverage.dates),
        len(facts.days.packed),
        facts.days.stored,
        facts.coverage.ok,
        own,
    )


def rendered(content: Json, bars: str = "") -> str:
    """Return the HTML of a payload. ``bars`` has a line of packed bars for each embedded symbol-day."""
    template, library = page_template(), chart_library()
    script = "\n".join((HERE / "assets" / f"{name}.js").read_text("utf-8") for name in SCRIPTS)
    scripts = " ".join(_source_of(text) for text in (script, library))
    connect = "'self'" if content["live"] else "'none'"
    return template.render(
        facts=content,
        policy=f"{POLICY}; script-src {scripts}; connect-src {connect}",
        styles=(HERE / "assets" / "page.css").read_text("utf-8"),
        script=script,
        library=packed_library(),
        bars=bars,
    )


def check_installed() -> None:
    """Raise ``ConfigurationError`` if the extra ``report`` is not installed: before a long survey, not after it."""
    page_template(), chart_library()


@lru_cache(1)
def page_template() -> Template:
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
    except ModuleNotFoundError as error:
        raise ConfigurationError(INSTALL) from error
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    number: Callable[[int], str] = "{:,}".format
    environment.filters["number"] = number
    return environment.get_template("page.html.j2")


@lru_cache(1)
def chart_library() -> str:
    """Return the script that plotly's package ships. The package is not imported: that takes half a second."""
    found = find_spec("plotly")
    file = Path(found.origin).parent / "package_data" / "plotly.min.js" if found and found.origin else None
    if file is None or not file.is_file():
        raise ConfigurationError(INSTALL)
    return file.read_text("utf-8")


@lru_cache(1)
def packed_library() -> str:
    """Return the script compressed, as text: it is unpacked when the first chart is opened, not before."""
    return base64.b64encode(zlib.compress(chart_library().encode(), 9)).decode()


def _source_of(script: str) -> str:
    """Return what allows a script of exactly this text."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
