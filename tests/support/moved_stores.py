"""Stores of one loopback provider, wherever their files and states are, used by the real command line.

The provider has a bar that is rejected, and corrects a day later: so a store has a quarantine and a revision too.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from marketpipe.testing import sessions
from tests.support.alpaca_loopback import AlpacaLoopback, Record, record
from tests.support.child_processes import CompletedProcess
from tests.support.cli_process import KEYS, marketpipe, result_of
from tests.support.s3_servers import READER_SECRET, SECRET_KEY

DAYS: Final = [str(session.trading_date) for session in sessions("2024-03-04", "2024-03-08")]
SYMBOLS: Final = ["AAPL", "BRK.B", "MSFT"]
CORRECTED: Final = DAYS[2]
BARS_A_DAY: Final = 30


def bars_of(n: int) -> list[Record]:
    return [
        record(f"{day}T15:{minute:02d}:00Z", 100.0 + n + minute / 8) for day in DAYS for minute in range(BARS_A_DAY)
    ]


GOOD: Final = {symbol: bars_of(n) for n, symbol in enumerate(SYMBOLS)}
REJECTED: Final = record(f"{DAYS[1]}T16:00:00Z", h=1.0)
"""Its high is below its low."""


class CorrectingProvider(AlpacaLoopback):
    def __init__(self) -> None:
        super().__init__({**GOOD, "MSFT": [*GOOD["MSFT"], REJECTED]}, page_size=60, traded=GOOD)

    def correct(self) -> None:
        """Answer with another volume of one minute from now on."""
        for bar in self._bars["AAPL"]:
            if bar["t"] == f"{CORRECTED}T15:07:00Z":
                bar["v"] += 1

    @property
    def asked(self) -> tuple[int, int]:
        return len(self.requests), len(self.official)


class MovedStores:
    """The command line in a folder. A configuration is called as its file, without the suffix."""

    def __init__(self, folder: Path, provider: CorrectingProvider, env: Mapping[str, str]) -> None:
        self.folder, self.provider, self.env = folder, provider, env
        self.printed = list[str]()
        self.moment = ""
        """When the store had the bars before their correction."""

    def configure(self, name: str, output: str, state: str) -> str:
        (self.folder / f"{name}.yaml").write_text(
            f"provider: alpaca\nsymbols: [{', '.join(SYMBOLS)}]\nstart: {DAYS[0]}\nend: {DAYS[-1]}\n"
            f"session: regular\nworkers: 2\ntimeframes: [5m, 1d]\noutput_path: {output}\nstate_path: {state}\n"
            f"alpaca: {{base_url: '{self.provider.url}', rate_limit_per_min: 100000}}\n"
        )
        return name

    def run(self, name: str, *words: str, code: int = 0) -> CompletedProcess[str]:
        return self.run_words(*words, "--config", f"{name}.yaml", code=code)

    def run_words(self, *words: str, code: int = 0, env: Mapping[str, str] | None = None) -> CompletedProcess[str]:
        ended = marketpipe(*words, cwd=self.folder, env={**self.env, **(env or {})})
        story = f"{' '.join(words)}: {ended.returncode}\n{ended.stdout}\n{ended.stderr}"
        self.printed.append(story)
        assert ended.returncode == code, story
        assert "Traceback" not in story
        for secret in (SECRET_KEY, READER_SECRET, *KEYS.values()):
            assert secret not in story
        return ended

    def result(self, name: str, *words: str) -> Any:
        return result_of(self.run(name, *words, "--json"))

    def fill(self, name: str) -> None:
        """Ingest, and adopt the correction of a day."""
        self.run(name, "ingest")
        self.moment = _now()
        self.provider.correct()
        self.run(name, "audit", "--start", CORRECTED, "--end", CORRECTED, "--adopt")

    def answers(self, name: str) -> Mapping[str, str]:
        """Return what a store answers, to be compared with what another one does. All of it is sound and complete."""
        self.run(name, "verify")
        query = "SELECT symbol, count(*), sum(volume), max(high) FROM bars{} GROUP BY ALL ORDER BY ALL"
        return {
            "lock": self.run(name, "freeze").stdout,
            "coverage": self.run(name, "coverage", "--json").stdout,
            **{
                f"bars{unit}": self.run(name, "query", query.format(unit), "--json").stdout
                for unit in ("", "_5m", "_1d")
            },
            **{f"as of {at}": self._exported(name, *at) for at in ((), ("--as-of", self.moment))},
        }

    def _exported(self, name: str, *options: str) -> str:
        self.run(name, "export", "exported.csv", *options, "--overwrite")
        return (self.folder / "exported.csv").read_text()

    def asks_for_nothing(self, name: str) -> bool:
        before = self.provider.asked
        self.run(name, "ingest")
        return self.provider.asked == before


def _now() -> str:
    from datetime import UTC, datetime

    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
