"""How requests to a provider are authenticated."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Generator, Mapping

import httpx
from attrs import Attribute, field, frozen

from marketpipe.shared_kernel.domain.errors import ConfigurationError
from marketpipe.shared_kernel.domain.secret_text import SecretText


class AuthStrategy(httpx.Auth):
    """Adds credentials to a request. No secret may show in its repr or in an error."""

    @property
    def secrets(self) -> tuple[str, ...]:
        """Return what must never be shown: it is redacted in responses, errors and logs."""
        return ()

    @abstractmethod
    def sign(self, request: httpx.Request) -> None:
        """Add the credentials to ``request``."""

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        self.sign(request)
        yield request


def _hidden(headers: Mapping[str, str]) -> Mapping[str, str]:
    return {name: SecretText(value) for name, value in headers.items()}


@frozen
class HeaderTokenAuth(AuthStrategy):
    """Sends header names with secret values. Raises ``ConfigurationError`` for a value that no header can carry."""

    headers: Mapping[str, str] = field(converter=_hidden, repr=lambda headers: f"<{', '.join(headers)}>")

    @headers.validator
    def _sendable(self, _: Attribute[Mapping[str, str]], headers: Mapping[str, str]) -> None:
        # Checked here and without the value: the HTTP library would name it in its error, retry after retry.
        for name, value in headers.items():
            if not value or value != value.strip() or not value.isascii() or not value.isprintable():
                raise ConfigurationError(
                    f"the secret for the header {name} is empty, starts or ends with a space, "
                    "or has characters other than ASCII"
                )

    @property
    def secrets(self) -> tuple[str, ...]:
        """Return the values, and what comes after a scheme such as Bearer: a server may repeat the token alone."""
        values = tuple(self.headers.values())
        return (*values, *(value.rpartition(" ")[2] for value in values if " " in value))

    def sign(self, request: httpx.Request) -> None:
        request.headers.update(self.headers)
