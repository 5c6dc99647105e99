"""A server whose response can be larger than the memory: it sends the same piece again and again."""

from __future__ import annotations

import gzip
import socket
import threading
from types import TracebackType

PIECE = bytes(1024 * 1024)


class EndlessServer:
    """``size`` is the announced length of the body, ``sent`` the bytes sent before the client closed the connection."""

    def __init__(self, size: int, *, packed: bool = False) -> None:
        self._piece = gzip.compress(PIECE, 0) if packed else PIECE
        self._size, self._packed = size, packed
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.sent = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> EndlessServer:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._pour, args=(connection,), daemon=True).start()

    def _pour(self, connection: socket.socket) -> None:
        packing = "Content-Encoding: gzip\r\n" if self._packed else ""
        with connection:
            try:
                connection.recv(65_536)
                connection.sendall(f"HTTP/1.1 200 OK\r\n{packing}Content-Length: {self._size}\r\n\r\n".encode())
                for _ in range(self._size // len(self._piece)):
                    connection.sendall(self._piece)
                    self.sent += len(self._piece)
            except OSError:
                return
