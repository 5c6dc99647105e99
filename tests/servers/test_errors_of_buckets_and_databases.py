"""What a person reads if a bucket or a database is away, or refuses: what failed, on what, and what to do next."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.support.moved_stores import CorrectingProvider, MovedStores
from tests.support.postgres_server import HOST, OWNER, WITH_PASSWORD, PostgresServer
from tests.support.s3_servers import READER, READER_SECRET, S3Server

PLACE_KEYS = "check the AWS_… variables, and what the policy of the bucket allows"
COMMANDS = {
    "gc": ("gc", "--config", "filled.yaml"),
    "recover": ("recover", "--config", "lost.yaml"),
    "copy to": ("copy", "disk.yaml", "empty.yaml"),
    "copy from": ("copy", "filled.yaml", "another_disk.yaml"),
}


class Refused(MovedStores):
    """A store on a disk, and one in a bucket whose state is once there and once lost; and places for copies."""

    def __init__(self, folder: Path, provider: CorrectingProvider, s3: S3Server, postgres: PostgresServer) -> None:
        super().__init__(folder, provider, s3.environment)
        self.bucket = f"s3://{s3.new_bucket()}"
        databases = [postgres.new_database() for _ in range(3)]
        self.configure("disk", "disk/data", "disk/state.sqlite")
        self.configure("another_disk", "another/data", "another/state.sqlite")
        for name, database, prefix in zip(("filled", "lost", "empty"), databases, ("one", "one", "other"), strict=True):
            self.configure(name, f"{self.bucket}/{prefix}", database)
        self.run("disk", "ingest")
        self.run("filled", "ingest")

    def error(self, command: str, env: Mapping[str, str], code: int = 1) -> str:
        """Return the one line of an error."""
        ended = self.run_words(*COMMANDS[command], env=env, code=code)
        assert (ended.stdout, ended.stderr.count("\n")) == ("", 1)
        return str(ended.stderr)

    def all_work(self) -> None:
        for words in COMMANDS.values():
            self.run_words(*words)


@pytest.fixture
def refused(tmp_path: Path, seaweed: S3Server, postgres_server: PostgresServer) -> Iterator[Refused]:
    with CorrectingProvider() as provider:
        yield Refused(tmp_path, provider, seaweed, postgres_server)


def test_a_bucket_that_refuses_or_is_away(refused: Refused) -> None:
    wrong = {"AWS_SECRET_ACCESS_KEY": "wrong horse"}
    away = {"AWS_ENDPOINT_URL": f"http://{HOST}:{_closed_port()}"}
    for command in COMMANDS:
        message = refused.error(command, wrong)
        assert message.startswith(f"error: cannot {'list' if command == 'gc' else 'read'} {refused.bucket}/o")
        assert f"error 403 SignatureDoesNotMatch; {PLACE_KEYS}" in message
        assert "horse" not in message
    message = refused.error("gc", away)
    assert message.startswith(f"error: cannot list {refused.bucket}/one/")
    assert "the server did not answer; check the network, AWS_ENDPOINT_URL and AWS_REGION, and try again" in message

    may_only_read = {"AWS_ACCESS_KEY_ID": READER, "AWS_SECRET_ACCESS_KEY": READER_SECRET}
    for command in ("gc", "recover", "copy to"):
        message = refused.error(command, may_only_read)
        assert message.startswith(f"error: cannot write {refused.bucket}/o")
        assert f"error 403 AccessDenied; {PLACE_KEYS}" in message
    refused.all_work()


def test_a_database_that_refuses_or_is_away(refused: Refused) -> None:
    configured = {name: (refused.folder / f"{name}.yaml").read_text() for name in ("filled", "lost", "empty")}

    def all_say(old: str, new: str, why: str, env: Mapping[str, str]) -> None:
        for name, text in configured.items():
            (refused.folder / f"{name}.yaml").write_text(text.replace(old, new))
        for command in COMMANDS:
            message = refused.error(command, env)
            assert message.startswith("error: the state in postgresql://")
            assert why in message
            assert (
                "see whether the server runs and lets this user in (its password: PGPASSFILE or PGPASSWORD)" in message
            )
            assert "horse" not in message

    all_say(f"//{OWNER}@", f"//{WITH_PASSWORD}@", "password authentication failed", {"PGPASSWORD": "wrong horse"})
    port = configured["filled"].partition(f"@{HOST}:")[2].partition("/")[0]
    all_say(f":{port}/", f":{_closed_port()}/", "Connection refused", {})
    for name, text in configured.items():
        (refused.folder / f"{name}.yaml").write_text(text)
    refused.all_work()


def _closed_port() -> int:
    with socket.create_server((HOST, 0)) as server:
        return int(server.getsockname()[1])
