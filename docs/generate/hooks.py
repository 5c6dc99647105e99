"""What "make docs" adds to the pages in this folder: those that are generated from the code.

MkDocs calls these functions. A generated page takes the place of a file that would have to be kept up to date by hand.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]


def on_files(files: Files, config: Any) -> Files:
    sys.path.insert(0, str(ROOT))
    from docs.generate import pages

    for path, text in pages().items():
        files.append(File.generated(config, path, content=text))
    return files


def on_post_page(output: str, page: Page, **_: Any) -> str:
    """Refuse a page for whose display the reader's browser would ask another server."""
    loaded = re.findall(r"<(?:script|img|iframe|source)\b[^>]*\bsrc=\W?(https?:[^\s\">]+)", output)
    loaded += re.findall(r"<link\b[^>]*\brel=\W?(?:stylesheet|preconnect)\b[^>]*\bhref=\W?(https?:[^\s\">]+)", output)
    if loaded:
        raise PluginError(f"{page.file.src_path} loads {', '.join(loaded)}: keep a copy in docs/, or leave it out")
    return output
