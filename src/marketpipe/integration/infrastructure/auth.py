from __future__ import annotations

from abc import abstractmethod
from collections.abc import Generator, Mapping

import httpx
from attrs import Attribute, field, frozen

from marketpipe.shared_kernel.domain.errors import ConfigurationError
from marketpipe.shared_kernel.domain.secret_text import SecretText


class AuthStrategy(httpx.Auth):
    """How a request proves who sends it. No secret may show in a repr or an error."""

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must never be shown, even where a server repeats it in an error."""
        return ()

    @abstractmethod
    def sign(self, request: httpx.Request) -> None: ...

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        self.sign(request)
        yield request


def _hidden(headers: Mapping[str, str]) -> Mapping[str, str]:
    return {name: SecretText(value) for name, value in headers.items()}


@frozen
class HeaderTokenAuth(AuthStrategy):
    """Header names and their secret values. Raises ``ConfigurationError`` for values that no header can carry."""

    headers: Mapping[str, str] = field(converter=_hidden, repr=lambda headers: f"<{', '.join(headers)}>")

    @headers.validator
    def _sendable(self, _: Attribute[Mapping[str, str]], headers: Mapping[str, str]) -> None:
        for name, value in headers.items():
            if not value or value != value.strip() or not value.isascii() or not value.isprintable():
                raise ConfigurationError(
                    f"the secret for the header {name} is empty, or has spaces at an end or characters other than ASCII"
                )

    @property
    def secrets(self) -> tuple[str, ...]:
        return tuple(self.headers.values())

    def sign(self, request: httpx.Request) -> None:
        request.headers.update(self.headers)
