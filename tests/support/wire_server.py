"""A server that sends the bytes that a test prepares, well-formed or not, and counts its connections."""

from __future__ import annotations

import socket
import threading
from types import TracebackType

from attrs import frozen


@frozen
class Wire:
    """Bytes to send. ``closes``: close the connection afterwards; otherwise wait for the next request.

    ``repeated`` is sent again and again after them, until the client closes the connection.
    """

    sent: bytes = b""
    closes: bool = True
    repeated: bytes = b""


def http(body: bytes, status: str = "200 OK", *headers: str) -> Wire:
    """Return a complete response that keeps the connection open."""
    lines = [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}", "", ""]
    return Wire("\r\n".join(lines).encode("latin-1") + body, closes=False)


SILENCE = Wire(closes=False)


class WireServer:
    """Send the answers in turn, over all connections; repeat the last one."""

    def __init__(self, *answers: Wire) -> None:
        self._answers, self._lock = answers, threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self._pause = threading.Event()
        self.connections = 0
        self.requests: list[bytes] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> WireServer:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for connection in self._open:
                connection.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self.connections += 1
                self._open.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        received = b""
        try:
            while chunk := connection.recv(65536):
                received += chunk
                if received.endswith(b"\r\n\r\n"):
                    wire = self._next(received)
                    received = b""
                    connection.sendall(wire.sent)
                    while wire.repeated:
                        connection.sendall(wire.repeated)
                        self._pause.wait(0.02)
                    if wire.closes:
                        break
            connection.close()
        except OSError:
            return

    def _next(self, request: bytes) -> Wire:
        with self._lock:
            answer = self._answers[min(len(self.requests), len(self._answers) - 1)]
            self.requests.append(request)
        return answer
