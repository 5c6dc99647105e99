"""``marketpipe import`` with a real file and a real process."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support import own_files
from tests.support.cli_process import marketpipe
from tests.support.own_files import Market


def test_a_file_is_shown_asked_about_and_imported(tmp_path: Path) -> None:
    own_files.kibot(tmp_path / "AAPL.txt", Market(first="2024-01-12", last="2024-01-16"))
    command = ("import", "AAPL.txt", "--name", "kibot", "--symbol-from", "name", "--adjustment", "all")

    asked = marketpipe(*command, "--dry-run", cwd=tmp_path)
    assert asked.returncode == 2
    assert "question: the times, such as 2024-01-12 " in asked.stderr
    refused = marketpipe(*command, cwd=tmp_path)
    assert refused.returncode == 2
    assert "--timezone" in refused.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["AAPL.txt"]

    wrong = marketpipe(*command, "--timezone", "UTC", cwd=tmp_path)
    assert (wrong.returncode, "--timezone UTC; is it --timezone America/New_York?" in wrong.stderr) == (2, True)

    done = marketpipe(*command, "--timezone", "America/New_York", "--map", "open=open", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "store of    import:kibot, prices all" in done.stdout
    assert "2 complete" in done.stdout
    status = marketpipe("status", "--json", cwd=tmp_path)
    assert json.loads(status.stdout)["dataset"]["provider"] == "import:kibot"
