"""What the other tests take for granted of the networks that they make."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.child_processes import start, wait_until
from tests.support.network_namespaces import Machine, Network, network

CONNECT = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 1).close()"
KILLED = """
import sys
from tests.support.child_processes import guarded
from tests.support.network_namespaces import network
with guarded(), network(1) as made:
    print(made.machines[0].cable, flush=True)
    sys.stdin.read()
"""
INTERFACES = Path("/sys/class/net")


@pytest.fixture(scope="module")
def net() -> Iterator[Network]:
    with network() as made:
        yield made


def connects(machine: Machine, host: str, port: int) -> bool:
    with machine.start([sys.executable, "-S", "-c", CONNECT, host, str(port)]) as process:
        process.communicate()
    return process.returncode == 0


def test_each_machine_has_a_name_of_its_own(net: Network) -> None:
    names = [machine.start(["hostname"]).communicate()[0].strip() for machine in net.machines]
    assert names == [machine.name for machine in net.machines]
    assert len({*names, socket.gethostname()}) == 3


def test_each_reaches_this_one_until_its_own_cable_is_cut(net: Network) -> None:
    with socket.create_server((net.host, 0)) as server:
        port = server.getsockname()[1]

        def reached() -> list[bool]:
            return [connects(machine, net.host, port) for machine in net.machines]

        assert reached() == [True, True]
        net.machines[0].cut()
        assert reached() == [False, True]
        net.machines[0].mend()
        assert reached() == [True, True]


def test_a_port_of_this_loopback_is_theirs_while_it_is_forwarded(net: Network) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert not connects(net.machines[0], "127.0.0.1", port)
        with net.reaching(port):
            net.machines[0].cut()
            assert [connects(machine, "127.0.0.1", port) for machine in net.machines] == [True, True]
            net.machines[0].mend()
        assert not connects(net.machines[0], "127.0.0.1", port)


def test_a_killed_test_run_leaves_no_machine_and_no_cable(net: Network) -> None:
    run = start([sys.executable, "-c", KILLED], stdin=-1)
    assert run.stdout is not None
    cable = run.stdout.readline().strip()
    assert (INTERFACES / cable).exists()
    os.kill(run.pid, signal.SIGKILL)
    wait_until(lambda: not (INTERFACES / cable).exists(), 60)
