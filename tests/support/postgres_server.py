"""A real PostgreSQL server on a port of the loopback, with its files in a folder of its own.

Fixtures: ``postgres_server`` is one server for all tests of a process, ``database_url`` a new database of it for one
test. Import both into the conftest.py or the module that uses them.
"""

from __future__ import annotations

import itertools
import os
import pwd
import random
import signal
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest
from psycopg import sql

from tests.support.child_processes import LONGEST_SECONDS, Popen, run, run_folder, start, wait_until
from tests.support.installed import find_program, require

HOST: Final = "127.0.0.1"
OWNER: Final = "marketpipe"
"""Owns the databases of tests, may log in without a password, and is no superuser."""
WITH_PASSWORD: Final = "marketpipe_with_password"
"""Another role, a member of ``OWNER``, which the server asks for its password."""
PASSWORD: Final = "correct horse"
READY_SECONDS: Final = LONGEST_SECONDS
PORTS: Final = range(20_000, 32_000)
"""Below those that the system gives to connections: nothing takes the port while the server is stopped."""
SETTINGS: Final = {
    "autovacuum": "off",
    "dynamic_shared_memory_type": "mmap",  # in its folder, where it is removed with everything else
    "max_connections": "200",
    "shared_buffers": "32MB",
}
ACCESS: Final = f"""\
host all {WITH_PASSWORD} all scram-sha-256
local all all trust
host all all all trust
"""


class PostgresServer:
    """One server. ``stop`` and ``start`` make an outage, ``restart`` a short one; the port stays."""

    def __init__(self, folder: Path, settings: Mapping[str, str], host: str = HOST) -> None:
        self._folder, self._settings, self.host = folder, settings, host
        self.port = _free_port(host)
        self._process: Popen[Any] | None = None
        self._numbers = itertools.count(1)

    def url(self, database: str = "postgres", user: str = "postgres") -> str:
        return f"postgresql://{user}@{self.host}:{self.port}/{database}"

    def new_database(self) -> str:
        """Return the URL of a new, empty database of ``OWNER``."""
        name = f"test_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name} OWNER {OWNER}")
        return self.url(name, OWNER)

    def drop(self, url: str) -> None:
        """Drop a database, although something is connected to it."""
        self.execute(f"DROP DATABASE IF EXISTS {url.rpartition('/')[2]} WITH (FORCE)")

    def execute(self, statement: str) -> None:
        """Run a statement as the superuser, outside any transaction."""
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(sql.SQL(statement))  # type: ignore[arg-type]

    def create(self) -> None:
        """Make the files of the server, start it, and make its roles."""
        data = self._folder / "data"
        words = ["--username=postgres", "--encoding=UTF8", "--locale=C", "--auth=trust", "--no-sync"]
        run([_program("initdb"), f"--pgdata={data}", *words], check=True, **self._as_user())
        (data / "pg_hba.conf").write_text(ACCESS)
        self.start()
        self.execute(f"CREATE ROLE {OWNER} LOGIN")
        self.execute(f"CREATE ROLE {WITH_PASSWORD} LOGIN PASSWORD '{PASSWORD}' IN ROLE {OWNER}")

    def start(self) -> None:
        """Return when it answers."""
        settings = {**self._settings, "listen_addresses": self.host, "unix_socket_directories": str(self._folder)}
        words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        command = [_program("postgres"), "-D", str(self._folder / "data"), "-p", str(self.port), *words]
        with (self._folder / "log").open("ab") as log:
            self._process = start(command, outlives_test=True, stdout=log, stderr=log, **self._as_user())
        wait_until(self._has_ended_or_answers, READY_SECONDS)
        assert self._process.poll() is None, self.log()

    def stop(self, mode: str = "immediate") -> None:
        """As ``pg_ctl stop -m`` does: immediate (as a crash), fast (rolls back), or smart (waits for all clients)."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(_SIGNALS[mode])
        self._process.wait(READY_SECONDS)
        self._process = None

    def restart(self, mode: str = "immediate") -> None:
        """As ``pg_ctl restart -m`` does."""
        self.stop(mode)
        self.start()

    def log(self) -> str:
        return (self._folder / "log").read_text(errors="replace")

    def _has_ended_or_answers(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            return True
        with suppress(psycopg.OperationalError), psycopg.connect(self.url(), connect_timeout=5):
            return True
        return False

    def _as_user(self) -> dict[str, Any]:
        """Return options with which a process belongs to the owner of the folder: the server refuses to be root."""
        owner = self._folder.stat()
        if owner.st_uid == os.geteuid():
            return {"cwd": self._folder}
        return {"cwd": self._folder, "user": owner.st_uid, "group": owner.st_gid, "extra_groups": ()}


_SIGNALS: Final = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}


@contextmanager
def running_postgres(*, fsync: bool = False, host: str = HOST, **settings: str) -> Iterator[PostgresServer]:
    """Run a server. Without ``fsync`` it survives everything but the end of the machine, and is faster.

    ``host`` is the address at which it listens: another one for clients in other network namespaces.
    """
    require("initdb", "postgres")
    with run_folder() as folder:
        if os.geteuid() == 0:
            os.chown(folder, *_somebody_else())
        server = PostgresServer(folder, {**SETTINGS, "fsync": "on" if fsync else "off", **settings}, host)
        try:
            server.create()
            yield server
        finally:
            server.stop("immediate")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One server for all tests of this process. A test that stops it must start it again."""
    with running_postgres() as server:
        yield server


@pytest.fixture
def database_url(postgres_server: PostgresServer) -> Iterator[str]:
    """A new, empty database for one test."""
    url = postgres_server.new_database()
    yield url
    postgres_server.drop(url)


def _program(name: str) -> str:
    path = find_program(name)
    assert path is not None, name
    return path


def _somebody_else() -> tuple[int, int]:
    """Return the ids of the user postgres, which comes with the package, or else of nobody, and of the group."""
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    entry = known.get("postgres") or known["nobody"]
    return entry.pw_uid, entry.pw_gid


def _free_port(host: str) -> int:
    for port in random.sample(PORTS, 100):
        with suppress(OSError), socket.create_server((host, port)):
            return port
    raise AssertionError(f"no port from {PORTS.start} to {PORTS.stop} is free at {host}")
