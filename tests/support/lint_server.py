"""python -m tests.support.lint_server: a server of ``json_server`` that checks imports against the contracts.

A request has ``folder``, which contains a package ``marketpipe``, and ``contracts``, the file with the contracts. The
response has the exit ``code`` of lint-imports and its ``report``. The server never imports the package itself:
otherwise it would check the same one every time.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import sys
from collections.abc import Mapping
from typing import Any

from importlinter.cli import lint_imports

from tests.support.json_server import serve


def answer(asked: Mapping[str, Any]) -> Mapping[str, Any]:
    folder, report = asked["folder"], io.StringIO()
    os.chdir(folder)
    sys.path.insert(0, folder)
    importlib.invalidate_caches()
    try:
        with contextlib.redirect_stdout(report), contextlib.redirect_stderr(report):
            code = lint_imports(config_filename=asked["contracts"], no_cache=True, no_logo=True)
    finally:
        sys.path.remove(folder)
        sys.path_importer_cache.pop(folder, None)
    return {"code": code, "report": report.getvalue()}


if __name__ == "__main__":
    os.environ["COLUMNS"] = "300"
    serve(answer)
