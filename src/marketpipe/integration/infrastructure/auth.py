from __future__ import annotations

from abc import abstractmethod
from collections.abc import Generator, Mapping

import httpx
from attrs import field, frozen


class AuthStrategy(httpx.Auth):
    """How a request proves who sends it. No secret may show in a repr or an error."""

    @abstractmethod
    def sign(self, request: httpx.Request) -> None: ...

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        self.sign(request)
        yield request


@frozen
class HeaderTokenAuth(AuthStrategy):
    """Header names and their secret values."""

    headers: Mapping[str, str] = field(repr=lambda headers: f"<{', '.join(headers)}>")

    def sign(self, request: httpx.Request) -> None:
        request.headers.update(self.headers)
