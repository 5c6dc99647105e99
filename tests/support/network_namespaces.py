"""Machines of a network: namespaces of Linux, each with a cable to this machine.

No name of a namespace is in the file system: one is gone with its processes, and its cable with it, even if the tests
are killed.
"""

from __future__ import annotations

import asyncio
import ctypes
import itertools
import os
import random
import socket
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from threading import Thread
from typing import Any, Final, cast

import pytest

from tests.support.child_processes import Popen, run, start
from tests.support.cli_process import environment
from tests.support.installed import REQUIRED, require, why_not
from tests.support.json_server import JsonServer
from tests.support.started_cli import StartedCli

SEPARATED: Final = ("--net", "--uts")
"""What a machine has of its own: its network, and its name."""
NEW_NETWORK: Final = 0x40000000
"""CLONE_NEWNET"""
FAR_END: Final = "eth0"
_numbers: Final = itertools.count(1)


class Machine:
    """A namespace, which lasts as long as its first process."""

    def __init__(self) -> None:
        number = next(_numbers)
        self.name, self.address = f"machine-{number}", ""
        self.cable = f"mp{os.getpid()}n{number}"  # an interface has a name of up to 15 characters
        begin = f"hostname {self.name} && ip link set lo up && echo && exec sleep infinity"
        self._first = start(["unshare", *SEPARATED, "sh", "-c", begin], outlives_test=True)
        self._namespaces = ["nsenter", f"--target={self._first.pid}", *SEPARATED]
        self._cli: JsonServer | None = None

    def connect(self, server: str, address: str) -> None:
        """Lay the cable; ``server`` is the address of this machine at its other end."""
        self.address = address
        assert self._first.stdout is not None
        assert self._first.stdout.readline() == "\n", self._first.communicate()
        _ip("link", "add", self.cable, "type", "veth", "peer", "name", FAR_END, "netns", str(self._first.pid))
        _ip("address", "add", server, "peer", address, "dev", self.cable)
        self._run("ip", "address", "add", address, "peer", server, "dev", FAR_END)
        self._run("ip", "link", "set", FAR_END, "up")
        self.mend()

    def marketpipe(self, *words: str, cwd: Path) -> StartedCli:
        """Start the command line on this machine, and leave it running."""
        if self._cli is None:
            self._cli = JsonServer("plain_cli", self._namespaces)
        return StartedCli(self._cli, words, cwd, environment())

    def start(self, command: Sequence[str], **options: Any) -> Popen[Any]:
        """Start a process on this machine; ``options`` are those of ``child_processes.start``."""
        return start([*self._namespaces, *command], **options)

    def cut(self) -> None:
        """Let no packet come through from now on; nobody is told so."""
        _ip("link", "set", self.cable, "down")

    def mend(self) -> None:
        _ip("link", "set", self.cable, "up")

    def listening(self, port: int) -> socket.socket:
        """Return a socket of this process that listens on the loopback of that machine."""
        with ThreadPoolExecutor(1) as thread:  # a thread can be in another network than its process
            return thread.submit(self._listening, port).result()

    def _listening(self, port: int) -> socket.socket:
        libc = ctypes.CDLL(None, use_errno=True)
        with open(f"/proc/{self._first.pid}/ns/net", "rb") as network:
            if libc.setns(network.fileno(), NEW_NETWORK):
                raise OSError(ctypes.get_errno(), "setns")
        return socket.create_server(("127.0.0.1", port))

    def _run(self, *command: str) -> None:
        run([*self._namespaces, *command], check=True)

    def close(self) -> None:
        if self._cli is not None:
            self._cli.close()
        run(["ip", "link", "delete", self.cable])
        self._first.kill()
        self._first.communicate()


class Network:
    """This machine, which the others reach at the address ``host``, and they."""

    def __init__(self, host: str, machines: Sequence[Machine]) -> None:
        self.host, self.machines = host, machines

    @contextmanager
    def reaching(self, port: int) -> Iterator[None]:
        """Let a port of the loopback of each machine be that of this one, without a cable."""
        with ExitStack() as undo:
            listening = [undo.enter_context(machine.listening(port)) for machine in self.machines]
            undo.enter_context(_forwarding(listening, port))
            yield


def why_no_network() -> str | None:
    """Return why this process cannot make networks; None if it can."""
    if (reason := why_not("ip")) is not None:
        return reason
    tried = run(["unshare", *SEPARATED, "ip", "link", "add", "type", "veth"])
    return f"networks need root: {tried.stderr.strip()}" if tried.returncode else None


@contextmanager
def network(count: int = 2) -> Iterator[Network]:
    """Make machines. Skips the test if that is not allowed, and fails it in CI."""
    require("ip")
    if (reason := why_no_network()) is not None:
        (pytest.fail if REQUIRED else pytest.skip)(reason)
    # of 198.18.0.0/15, which is for tests of networks; other test processes have other addresses
    block, first = f"198.{random.choice((18, 19))}.{random.randrange(256)}", random.randrange(1, 250 - count)
    addresses = [f"{block}.{first + number}" for number in range(count + 1)]
    with ExitStack() as undo:
        machines = [Machine() for _ in range(count)]
        for machine in machines:
            undo.callback(machine.close)
        for machine, address in zip(machines, addresses[1:], strict=True):
            machine.connect(addresses[0], address)
        yield Network(addresses[0], machines)


def _ip(*words: str) -> None:
    run(["ip", *words], check=True)


@contextmanager
def _forwarding(listening: Sequence[socket.socket], port: int) -> Iterator[None]:
    loop, end = asyncio.new_event_loop(), asyncio.Event()
    thread = Thread(target=loop.run_until_complete, args=[_forward(listening, port, end)], name="forwarder")
    thread.start()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(end.set)
        thread.join()
        loop.close()


async def _forward(listening: Sequence[socket.socket], port: int, end: asyncio.Event) -> None:
    opened = list[asyncio.StreamWriter]()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        opened.append(writer)
        try:
            to_reader, to_writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:  # nothing listens at the moment
            writer.close()
            return
        opened.append(to_writer)
        await asyncio.gather(_copy(reader, to_writer), _copy(to_reader, writer))

    servers = [await asyncio.start_server(connected, sock=each) for each in listening]
    await end.wait()
    for each in (*servers, *opened):
        each.close()
    await asyncio.gather(*asyncio.all_tasks() - {cast(asyncio.Task[None], asyncio.current_task())})


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass  # the other end is told so
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
