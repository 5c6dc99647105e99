"""Real Dask clusters, on the loopback or a network: a scheduler and its workers, with certificates or without.

Each worker has one thread, and a nanny that starts it again when it is killed, as in production.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from distributed import Client

from tests.support.child_processes import Popen, run, run_folder, start, wait_until
from tests.support.cli_process import environment
from tests.support.network_namespaces import Machine

HOST: Final = "127.0.0.1"
TLS: Final = "DASK_DISTRIBUTED__COMM__TLS__"
ROLES: Final = ("SCHEDULER", "WORKER", "CLIENT")


class DaskServers:
    """A scheduler with workers. ``environment`` is what its clients need to connect."""

    def __init__(
        self, folder: Path, env: Mapping[str, str], *, tls: bool, allowed_failures: int = 3, host: str = HOST
    ) -> None:
        self.folder, self._processes = folder, list[Popen[Any]]()
        self._nannies = dict[str, Popen[Any]]()
        self.environment = certificates(folder) if tls else {}
        failures = {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": str(allowed_failures)}
        self._env = environment({**env, **self.environment, **failures, "PYTHONPATH": str(Path(__file__).parents[2])})
        words = ["--host", host, "--port", "0", "--no-dashboard", "--dashboard-address", f"{HOST}:0"]
        words += ["--scheduler-file", str(told := folder / "scheduler.json"), *(["--protocol", "tls"] if tls else [])]
        self.scheduler = self._start("scheduler", *words)
        wait_until(lambda: told.exists() and told.read_text().rstrip().endswith("}"))
        self.address = str(json.loads(told.read_text())["address"])

    def add_worker(
        self, name: str, threads: int = 1, env: Mapping[str, str] | None = None, on: Machine | None = None
    ) -> None:
        words = [
            self.address,
            "--host",
            on.address if on else HOST,
            "--nthreads",
            str(threads),
            "--name",
            name,
            "--no-dashboard",
        ]
        words += ["--dashboard-address", f"{HOST}:0", "--local-directory", str(self.folder)]
        self._nannies[name] = self._start("worker", *words, env=env, on=on)

    def kill_worker(self, name: str) -> None:
        """Kill the process in which the batches run, as soon as there is one; its nanny starts another."""
        nanny = self._nannies[name].pid
        wait_until(lambda: _worker_below(nanny))
        with suppress(ProcessLookupError):
            os.kill(_worker_below(nanny), signal.SIGKILL)

    def remove_worker(self, name: str) -> None:
        _kill_session(self._nannies.pop(name))

    def names(self) -> set[str]:
        """Return the names of the present workers."""
        with self.client(0) as client:
            return {each["name"] for each in client.scheduler_info(n_workers=-1)["workers"].values()}

    @contextmanager
    def client(self, workers: int) -> Iterator[Client]:
        """Connect, and wait until so many workers are there."""
        with Client(self.address, set_as_default=False, timeout=120, security=self.security()) as client:
            if workers:
                client.wait_for_workers(workers, timeout=120)
            yield client

    def security(self) -> Any:
        from distributed.security import Security

        files = {name.removeprefix(TLS).lower(): path for name, path in self.environment.items()}
        if not files:
            return None
        of_client = {"tls_ca_file": files["ca_file"], "require_encryption": True}
        return Security(**of_client, tls_client_cert=files["client__cert"], tls_client_key=files["client__key"])

    def log(self) -> str:
        return "\n".join(path.read_text(errors="replace") for path in sorted(self.folder.glob("*.log")))

    def kill(self) -> None:
        for process in reversed(self._processes):
            _kill_session(process)

    def _start(
        self, kind: str, *words: str, env: Mapping[str, str] | None = None, on: Machine | None = None
    ) -> Popen[Any]:
        command = [sys.executable, "-m", f"distributed.cli.dask_{kind}", *words]
        with (self.folder / f"{kind}-{len(self._processes)}.log").open("ab") as log:
            started = (on.start if on else start)(
                command, outlives_test=True, stdout=log, stderr=log, cwd=self.folder, env={**self._env, **(env or {})}
            )
        self._processes.append(started)
        return started


@contextmanager
def running_dask(env: Mapping[str, str] | None = None, **options: Any) -> Iterator[DaskServers]:
    with run_folder() as folder:
        servers = DaskServers(folder, env or {}, **{"tls": False, **options})
        try:
            yield servers
        finally:
            servers.kill()


def _kill_session(process: Popen[Any]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _worker_below(nanny: int) -> int:
    """Return the process of the worker; 0 if there is none at the moment."""
    listed = run(["ps", "-ww", "-o", "pid=,stat=,args=", "--ppid", str(nanny)]).stdout
    found = [line.split()[0] for line in listed.splitlines() if "spawn_main" in line and " Z" not in line]
    return int(found[0]) if found else 0


def certificates(folder: Path) -> dict[str, str]:
    """Make an authority and one certificate of it, and return the variables with which Dask finds them."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    authority_key = ec.generate_private_key(ec.SECP256R1())
    authority = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests of MarketPipe")])

    def signed(name: x509.Name, of: Any, *, is_authority: bool) -> x509.Certificate:
        made = x509.CertificateBuilder().subject_name(name).issuer_name(authority).public_key(of.public_key())
        made = made.serial_number(x509.random_serial_number())
        made = made.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        made = made.add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        names = x509.SubjectAlternativeName([x509.IPAddress(ip_address(HOST))])
        return made.add_extension(names, critical=False).sign(authority_key, hashes.SHA256())

    own = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "dask")])
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    texts = {
        "ca": signed(authority, authority_key, is_authority=True).public_bytes(pem),
        "cert": signed(own, key, is_authority=False).public_bytes(pem),
        "key": private,
    }
    for name, text in texts.items():
        (folder / f"{name}.pem").write_bytes(text)
    roles = {f"{TLS}{role}__{name.upper()}": str(folder / f"{name}.pem") for role in ROLES for name in ("cert", "key")}
    return {f"{TLS}CA_FILE": str(folder / "ca.pem"), **roles}
