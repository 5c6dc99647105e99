"""Real servers of the S3 protocol on the loopback: SeaweedFS and moto, and rclone, which ignores conditions.

Fixtures: ``seaweed`` and ``moto`` are one server each for all tests of a process, ``s3_server`` is each of the two in
turn, ``bucket_server`` one of them that is installed, ``rclone`` the server that has to be refused.
``server.new_bucket()`` makes a bucket for one test.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import socket
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.child_processes import LITTER, Popen, run_folder, start, wait_until
from tests.support.installed import find_program, require, why_not
from tests.support.postgres_server import HOST, PORTS

READY_SECONDS: Final = 120
ACCESS_KEY, SECRET_KEY = "AKIDMARKETPIPE", "never shown 7f3a"
READER, READER_SECRET = "AKIDREADER", "never shown either 9c1b"
"""Of an account that SeaweedFS lets read and list, and nothing else."""
REGION: Final = "us-east-1"

Command = Callable[[Path, Sequence[int]], Sequence[str]]
"""Makes the command of a server from its folder and its ports, of which the first is that of S3."""


class S3Server:
    """One server. ``kill`` and ``start`` make an outage; the port and what is stored stay (but moto keeps nothing)."""

    def __init__(self, folder: Path, command: Command, how_many_ports: int = 1) -> None:
        ports = _free_ports(how_many_ports)
        self.folder, self._command = folder, command(folder, ports)
        self.url = f"http://{HOST}:{ports[0]}"
        self._process: Popen[Any] | None = None
        self._numbers = itertools.count(1)

    @property
    def environment(self) -> Mapping[str, str]:
        """The variables with which every client of S3 finds this server."""
        return {
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ENDPOINT_URL": self.url,
        }

    def new_bucket(self) -> str:
        """Return the name of a new, empty bucket."""
        name = f"bars-{os.getpid()}-{next(self._numbers)}"
        self.client().create_bucket(Bucket=name)
        return name

    def client(self) -> Any:
        """Return a client of boto3, which is none of ours, to look at what is stored."""
        import boto3
        from botocore.config import Config

        settings = Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 2})
        keys = {"aws_access_key_id": ACCESS_KEY, "aws_secret_access_key": SECRET_KEY}
        return boto3.client("s3", endpoint_url=self.url, region_name=REGION, config=settings, **keys)

    def keys(self, bucket: str, prefix: str = "") -> list[str]:
        """Return the keys of all objects in order."""
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return sorted(each["Key"] for page in pages for each in page.get("Contents", ()))

    def start(self) -> None:
        """Return when it answers."""
        with (self.folder / "log").open("ab") as log:
            self._process = start(self._command, outlives_test=True, stdout=log, stderr=log, cwd=self.folder)
        wait_until(self._has_ended_or_answers, READY_SECONDS)
        assert self._process.poll() is None, self.log()

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def litter(self) -> list[Path]:
        """Return what it has put elsewhere."""
        names = (self.folder / LITTER).read_text().splitlines()
        return [path for path in map(Path, names) if path.exists()]

    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def _has_ended_or_answers(self) -> bool:
        assert self._process is not None
        return self._process.poll() is not None or _answers(self.url)


@contextmanager
def running_seaweed() -> Iterator[S3Server]:
    """Run SeaweedFS, which needs some 25 s to be ready: master, volumes, filer and S3 in one process."""
    with _running("weed", _seaweed, 8) as server:
        wait_until(lambda: _can_store(server), READY_SECONDS)
        yield server


@contextmanager
def running_moto() -> Iterator[S3Server]:
    """Run moto, which keeps everything in memory and takes any keys."""
    with _running("moto_server", _moto) as server:
        yield server


@contextmanager
def running_rclone() -> Iterator[S3Server]:
    """Run rclone over a folder: it answers conditional writes as if there were no condition."""
    with _running("rclone", _rclone) as server:
        yield server


@contextmanager
def _running(program: str, command: Command, how_many_ports: int = 1) -> Iterator[S3Server]:
    require(program)
    with run_folder() as folder:
        server = S3Server(folder, command, how_many_ports)
        try:
            server.start()
            yield server
        finally:
            server.kill()


@pytest.fixture(scope="session")
def seaweed() -> Iterator[S3Server]:
    with running_seaweed() as server:
        yield server


@pytest.fixture(scope="session")
def moto() -> Iterator[S3Server]:
    with running_moto() as server:
        yield server


@pytest.fixture(scope="session")
def rclone() -> Iterator[S3Server]:
    with running_rclone() as server:
        yield server


@pytest.fixture
def bucket_server(request: pytest.FixtureRequest) -> S3Server:
    """SeaweedFS; moto if that is not installed."""
    server: S3Server = request.getfixturevalue("moto" if why_not("weed") else "seaweed")
    return server


@pytest.fixture(params=["seaweed", "moto"])
def s3_server(request: pytest.FixtureRequest) -> S3Server:
    """Each server that may be used."""
    server: S3Server = request.getfixturevalue(request.param)
    return server


def _seaweed(folder: Path, ports: Sequence[int]) -> Sequence[str]:
    accounts = [
        _account("tests", ACCESS_KEY, SECRET_KEY, ["Admin", "Read", "Write", "List", "Tagging"]),
        _account("reader", READER, READER_SECRET, ["Read", "List"]),
    ]
    (folder / "s3.json").write_text(json.dumps({"identities": accounts}))
    (folder / "data").mkdir()
    sockets = [
        f"/tmp/seaweedfs-{role}-grpc-{port}.sock" for role in ["s3", "master", "volume", "filer"] for port in ports
    ]
    (folder / LITTER).write_text("\n".join(sockets))  # no switch puts these elsewhere
    names = "s3 s3.grpc master master.grpc volume volume.grpc filer filer.grpc"
    switches = {
        **dict(zip(map(_port_switch, names.split()), map(str, ports), strict=True)),
        "ip": HOST,
        "ip.bind": HOST,
        "dir": str(folder / "data"),
        "volume.max": "0",
        "master.volumeSizeLimitMB": "64",
        "master.electionTimeout": "1s",
        "filer.localSocket": str(folder / "filer.sock"),
        "s3.localSocket": str(folder / "s3.sock"),
        "s3.config": str(folder / "s3.json"),
        "s3.port.iceberg": "0",
        "s3.port.lance": "0",
    }
    return [_program("weed"), "server", "-s3", *(f"-{name}={value}" for name, value in switches.items())]


def _account(name: str, key: str, secret: str, actions: Sequence[str]) -> Mapping[str, Any]:
    return {"name": name, "credentials": [{"accessKey": key, "secretKey": secret}], "actions": actions}


def _port_switch(name: str) -> str:
    role, _, kind = name.partition(".")
    return f"{role}.port.{kind}" if kind else f"{role}.port"


def _moto(_: Path, ports: Sequence[int]) -> Sequence[str]:
    return [_program("moto_server"), "-H", HOST, "-p", str(ports[0])]


def _rclone(folder: Path, ports: Sequence[int]) -> Sequence[str]:
    (folder / "data").mkdir()
    words = [f"--addr={HOST}:{ports[0]}", f"--auth-key={ACCESS_KEY},{SECRET_KEY}", f"--config={folder / 'none'}"]
    return [_program("rclone"), "serve", "s3", *words, str(folder / "data")]


def _can_store(server: S3Server) -> bool:
    """SeaweedFS answers before it can store anything."""
    from botocore.exceptions import BotoCoreError, ClientError

    with suppress(BotoCoreError, ClientError):
        bucket = server.new_bucket()
        server.client().put_object(Bucket=bucket, Key="probe", Body=b"1")
        return True
    return False


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=5).close()
    except urllib.error.HTTPError as error:
        error.close()
        return error.code < 500
    except OSError:
        return False
    return True


def _program(name: str) -> str:
    path = find_program(name)
    assert path is not None, name
    return path


def _free_ports(how_many: int) -> Sequence[int]:
    found: list[int] = []
    for port in random.sample(PORTS, 500):
        if len(found) < how_many:
            with suppress(OSError), socket.create_server((HOST, port)):
                found.append(port)
    assert len(found) == how_many, f"no {how_many} ports are free"
    return found
