"""python -m docs.generate.picture: draw docs/pictures/coverage.svg, the terminal that README.md shows.

It runs the commands that are in the picture on a store of invented bars, in which one file is lost and one is altered.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from rich.console import Console
from rich.text import Text

PICTURE: Final = Path(__file__).parents[1] / "pictures" / "coverage.svg"
WIDTH: Final = 92
CONFIGURATION: Final = """
provider: synthetic
symbols: [AAPL, AMZN, BRK.B, MSFT, NVDA]
start: 2024-09-03
end: 2024-11-29
timeframes: []
"""
COMMANDS: Final = ("marketpipe coverage", "marketpipe ingest --quiet", "marketpipe coverage --symbols BRK.B,NVDA")
LOST: Final = "data/symbol=BRK.B/year=2024/month=10/day=16.parquet"
ALTERED: Final = "data/symbol=NVDA/year=2024/month=11/day=05.parquet"
FOREIGN: Final = re.compile(r"@font-face \{.*?\}\n?|<!--.*?-->\n?", re.S)
"""Rich's picture asks another server for its font. Without this, the reader's own is used."""


def draw(folder: Path) -> str:
    """Return the picture. ``folder`` is empty, and has the store afterwards."""
    (folder / "marketpipe.yaml").write_text(CONFIGURATION)
    _run("marketpipe ingest --quiet", folder)
    (folder / LOST).unlink()
    (folder / ALTERED).write_bytes((folder / ALTERED).read_bytes()[:-1] + b"?")
    with open(os.devnull, "w") as nowhere:
        console = Console(record=True, width=WIDTH, file=nowhere, force_terminal=True, color_system="truecolor")
        for command in COMMANDS:
            console.print(Text.assemble(("$ ", "bold green"), (command, "bold")))
            console.print(Text.from_ansi(_run(command, folder)), end="\n" if "quiet" not in command else "")
    return FOREIGN.sub("", console.export_svg(title="marketpipe", unique_id="marketpipe"))


def words_of(picture: str) -> list[str]:
    """Return the text in a picture, which does not depend on how it is drawn."""
    return re.sub(r"&#160;|\s", " ", " ".join(re.findall(r"<text[^>]*>([^<]*)</text>", picture))).split()


def _run(command: str, folder: Path) -> str:
    variables = {**os.environ, "FORCE_COLOR": "1", "COLUMNS": str(WIDTH), "TERM": "xterm-256color"}
    words = [sys.executable, "-m", *command.split()]
    return subprocess.run(words, cwd=folder, env=variables, capture_output=True, text=True, check=False).stdout


if __name__ == "__main__":
    with TemporaryDirectory() as scratch:
        PICTURE.parent.mkdir(exist_ok=True)
        PICTURE.write_text(draw(Path(scratch)), "utf-8")
