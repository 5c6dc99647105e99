"""The password of a database is read from the file that PGPASSFILE names, and is in no message and no file of ours."""

from __future__ import annotations

from pathlib import Path

from tests.support.cli_process import marketpipe
from tests.support.postgres_server import OWNER, PASSWORD, WITH_PASSWORD


def test_a_state_behind_a_password(database_url: str, tmp_path: Path) -> None:
    url = database_url.replace(f"{OWNER}@", f"{WITH_PASSWORD}@")
    (tmp_path / "marketpipe.yaml").write_text(
        f"provider: synthetic\nsymbols: [AAPL]\nstart: 2024-11-25\nend: 2024-11-26\nstate_path: {url}\n"
    )
    host, _, database = url.rpartition("@")[2].partition("/")
    passwords = tmp_path / "pgpass"
    passwords.write_text(f"{host}:{database}:{WITH_PASSWORD}:{PASSWORD}\n")
    passwords.chmod(0o600)
    known = {"PGPASSFILE": str(passwords)}

    done = marketpipe("ingest", "-v", "--debug", cwd=tmp_path, env=known)
    assert done.returncode == 0, done.stderr
    shown = marketpipe("config", "show", cwd=tmp_path, env=known)
    passwords.write_text(f"{host}:{database}:{WITH_PASSWORD}:{PASSWORD}, but wrong\n")
    refused = marketpipe("status", "--debug", cwd=tmp_path, env=known)
    assert refused.returncode != 0
    assert f"the state in {url} cannot be reached" in refused.stderr
    assert "PGPASSFILE or PGPASSWORD" in refused.stderr
    said = [text for each in (done, shown, refused) for text in (each.stdout, each.stderr)]
    written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and path != passwords]
    assert not any(PASSWORD in text for text in said)
    assert not any(PASSWORD.encode() in content for content in written)
