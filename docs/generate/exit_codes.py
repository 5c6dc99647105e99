"""The page of the exit codes, from the module that ends every command."""

from __future__ import annotations

import signal
from typing import Final

from docs.generate.tables import code, table

from marketpipe.terminal import process

INTRODUCTION: Final = """# Exit codes

"""
MEANINGS: Final = {
    "COMPLETE": "Everything is complete, or was done. Also if `update` found that another update is running.",
    "SOMETHING_FAILED": "The command finished, but something failed, is missing, suspect or invalid, or an audit found restated days and did not "
    "adopt them; or an error of the provider, the store or the operating system ended it.",
    "WRONG_USAGE": "Wrong usage or configuration. No bars were written.",
}
OF_SIGNALS: Final = {
    signal.SIGHUP: "The terminal was closed.",
    signal.SIGINT: "Ctrl-C. Press it again to leave at once.",
    signal.SIGTERM: "Another program stopped it, such as systemd.",
}
AFTERWARDS: Final = """
A command that a signal stopped has kept everything that it had stored. If an ingestion was stopped, was killed or failed in
part, run it again: it continues. The same holds for a store that has lost files: an ingestion requests the symbol-days whose
files are gone, cut short or altered, and nothing else. If the provider cannot be reached, a command ends after seconds, and
names what the network reports; an outage of up to a minute in the middle of a run is waited out.

In Python the same conditions are errors and reports: `ConfigurationError`, `QueryError` and `ValidationError` would be exit
code 2, every other `MarketPipeError` exit code 1, and so would a report whose `ok` is false.
"""


def page() -> str:
    rows = [(code(number), MEANINGS[name]) for name, number in codes().items()]
    rows += [(code(128 + number), text) for number, text in OF_SIGNALS.items()]
    return INTRODUCTION + table(("code", "meaning"), rows) + AFTERWARDS


def codes() -> dict[str, int]:
    """Return the exit codes by their names in ``marketpipe.terminal.process``."""
    return {name: value for name, value in vars(process).items() if name.isupper() and type(value) is int}
