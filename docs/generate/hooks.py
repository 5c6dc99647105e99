"""What "make docs" adds to the pages in this folder: those that are generated from the code.

MkDocs calls ``on_files``. A generated page takes the place of a file that would have to be kept up to date by hand.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]


def on_files(files: Files, config: Any) -> Files:
    sys.path.insert(0, str(ROOT))
    from docs.generate import pages

    for path, text in pages().items():
        files.append(File.generated(config, path, content=text))
    return files
