"""The adapter of ``ObjectStore`` for buckets of S3, and for a folder or memory instead of one, by the package obstore.

A put is never repeated blindly: an answer that was lost (an error 503, a broken connection) leaves open whether the
server has stored the object, so it is asked for it first. Then a put costs one request more if its answer is lost, and
none is taken for that of another writer.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlsplit

from attrs import field, frozen

from marketpipe.shared_kernel.domain.errors import (
    ConfigurationError,
    MarketPipeError,
    ObjectLostError,
    StoreUnreachableError,
)
from marketpipe.shared_kernel.infrastructure.machine.machine import HERE, Machine
from marketpipe.storage.infrastructure.objects.object_store import DELETE, GET, HEAD, LIST, PUT, StoredObject

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig

MISSING_PACKAGE: Final = "a store in a bucket needs the package obstore: pip install 'marketpipe[s3]'"
ENDPOINTS: Final = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
"""The variables that name another server than that of Amazon; the first one counts more."""
ACCOUNT: Final = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_DEFAULT_REGION")
PATIENCE_SECONDS: Final = 60.0
"""How long a request is repeated while the server does not answer, or asks to slow down."""
FIRST_PAUSE_SECONDS: Final = 0.1
LONGEST_PAUSE_SECONDS: Final = 5.0
LISTED_TOGETHER: Final = 1000
"""Objects that one answer to a list names."""
DELETED_TOGETHER: Final = 1000
PLAIN_DIGEST: Final = re.compile(r'"?([0-9a-f]{32})"?')
STATUS: Final = re.compile(r"\b(?:status(?: code)?:?|HTTP) ?\(?([45]\d\d)\b")
OUT_OF_RANGE: Final = re.compile(r"[Ii]nvalid ?range|range was invalid|code: 416")
CODE: Final = re.compile(r"<Code>(\w{1,60})</Code>")
NOT_ALLOWED: Final = frozenset({"401", "403"})
"""Also of a list, and without any keys: the client makes no kind of its own of them."""
PASSING: Final = frozenset({"408", "409", "429"})
"""A request that took too long, two puts of one object at one moment, and too many requests."""
NO_RETRY: Final[RetryConfig] = {"max_retries": 0, "retry_timeout": timedelta(seconds=PATIENCE_SECONDS)}
RETRIES: Final[RetryConfig] = {
    "max_retries": 12,
    "retry_timeout": timedelta(seconds=PATIENCE_SECONDS),
    "backoff": {
        "init_backoff": timedelta(seconds=FIRST_PAUSE_SECONDS),
        "max_backoff": timedelta(seconds=LONGEST_PAUSE_SECONDS),
        "base": 2,
    },
}

Client = Any
"""One of the clients of obstore."""
T = TypeVar("T")


def s3_objects(
    bucket: str,
    prefix: str,
    environment: Mapping[str, str],
    machine: Machine = HERE,
    on_request: Callable[[str], object] = lambda _: None,
) -> ObstoreObjects:
    """Return the objects below a prefix of a bucket. The server and the keys are those of the AWS ``environment``.

    What else the client needs, such as the role of a machine of Amazon, it reads from that of the process by itself.
    Nothing is asked for yet. Raises ``ConfigurationError``.
    """
    try:
        from obstore.store import S3Store  # here: the package is an extra
    except ImportError as error:
        raise ConfigurationError(MISSING_PACKAGE) from error
    endpoint = endpoint_in(environment)
    options: ClientConfig = {"timeout": "300s", "connect_timeout": "5s", "allow_http": is_http(endpoint)}
    config: Any = {name.lower(): environment[name] for name in ACCOUNT if environment.get(name)}
    if endpoint:
        config["endpoint"] = endpoint
    place = f"s3://{bucket}/{prefix}"
    try:
        clients = [
            S3Store(bucket, prefix=prefix, config=config, client_options=options, retry_config=retries)
            for retries in (RETRIES, NO_RETRY)
        ]
    except _errors():  # nothing was asked for yet, so it is a setting; the text of the error may have keys
        raise ConfigurationError(
            f"{place} cannot be used: a setting is missing or not valid; check the bucket and the AWS_… variables: "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY belong together"
        ) from None
    return ObstoreObjects(clients[0], place, machine, on_request, once=clients[1])


def endpoint_in(environment: Mapping[str, str]) -> str | None:
    """Return the URL of the server that the environment names; None for that of Amazon.

    Raises ``ConfigurationError`` for one without encryption that is not on this machine: keys and bars would be read
    by others on their way.
    """
    found = next(((name, environment[name]) for name in ENDPOINTS if environment.get(name)), None)
    if found is None:
        return None
    name, url = found
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        raise ConfigurationError(f"{name} is not the URL of a server: write https://host or https://host:port")
    if is_http(url) and not _is_loopback(parts.hostname):
        raise ConfigurationError(
            f"{name} is {url}: without encryption only a server on this machine may be used; write https://"
        )
    return url


def is_http(url: str | None) -> bool:
    return url is not None and urlsplit(url).scheme == "http"


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


@frozen(eq=False)
class ObstoreObjects:
    """``ObjectStore`` over a client of obstore. ``place`` is how messages call it.

    ``on_request`` is called with the kind of each request before it is made; repeated ones that the client makes by
    itself are not among them. ``once`` is a client that repeats none, for puts; without it, the same one.
    """

    client: Client = field(repr=False)
    place: str
    machine: Machine = field(default=HERE, repr=False)
    on_request: Callable[[str], object] = field(default=lambda _: None, repr=False)
    once: Client = field(default=None, repr=False, kw_only=True)

    def put_new(self, key: str, content: bytes) -> bool:
        from obstore.exceptions import AlreadyExistsError

        began, pause = self.machine.monotonic(), FIRST_PAUSE_SECONDS
        while True:
            try:
                self._put(key, content)
                return True
            except AlreadyExistsError:
                return self._holds(key, content, self._head(key))
            except _errors() as error:
                failed = error
            if not _may_pass(failed) or self.machine.monotonic() - began > PATIENCE_SECONDS:
                raise StoreUnreachableError(_told(f"cannot write {self._named(key)}", failed)) from None
            if found := self._head(key):
                return self._holds(key, content, found)
            self.machine.pause(self.machine.uniform(pause / 2, pause))
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    def get(self, key: str, offset: int = 0, size: int | None = None) -> bytes:
        from obstore import get

        asked: Any = (offset, offset + size) if size is not None else {"offset": offset}
        if offset < 0:
            asked = {"suffix": -offset}
        return self._asked(
            GET,
            f"cannot read {self._named(key)}",
            lambda: bytes(get(self.client, key, options={"range": asked}).bytes()),
        )

    def listed(self, prefix: str = "") -> Iterator[StoredObject]:
        from obstore import list as list_objects

        failed = f"cannot list {self._named(prefix)}"
        chunks = self._asked(
            LIST, failed, lambda: iter(list_objects(self.client, prefix or None, chunk_size=LISTED_TOGETHER))
        )
        is_first = True
        while (chunk := self._asked(None if is_first else LIST, failed, lambda: next(chunks, None))) is not None:
            is_first = False
            for each in chunk:
                yield StoredObject(each["path"], each["size"], _nanoseconds(each["last_modified"]))

    def delete(self, keys: Collection[str]) -> None:
        ordered = [*keys]
        for start in range(0, len(ordered), DELETED_TOGETHER):
            self._delete(ordered[start : start + DELETED_TOGETHER])

    def _delete(self, keys: list[str]) -> None:
        from obstore import delete

        failed = f"cannot remove {len(keys)} objects of {self.place}, such as {keys[0]}"
        try:
            self._asked(DELETE, failed, lambda: delete(self.client, keys), passes=FileNotFoundError)
        except FileNotFoundError:  # a folder says so, a bucket does not
            for half in (keys[: len(keys) // 2], keys[len(keys) // 2 :]) if len(keys) > 1 else ():
                self._delete(half)

    def _put(self, key: str, content: bytes) -> None:
        from obstore import put

        self.on_request(PUT)
        put(self.once or self.client, key, content, mode="create", use_multipart=False)

    def _holds(self, key: str, content: bytes, found: Any) -> bool:
        """Return whether the object has just this content. One whose digest the server tells is not read for that."""
        if found is None or found["size"] != len(content):
            return False
        told = PLAIN_DIGEST.fullmatch(found["e_tag"] or "")
        if told and told[1] == hashlib.md5(content, usedforsecurity=False).hexdigest():
            return True
        return self.get(key) == content

    def _head(self, key: str) -> Any:
        from obstore import head

        try:
            return self._asked(
                HEAD, f"cannot examine {self._named(key)}", lambda: head(self.client, key), passes=FileNotFoundError
            )
        except FileNotFoundError:
            return None

    def _asked(self, kind: str | None, failed: str, ask: Callable[[], T], passes: type[OSError] | tuple[()] = ()) -> T:
        if kind is not None:
            self.on_request(kind)
        try:
            return ask()
        except passes:
            raise
        except _errors() as error:
            # Its text may have an account's keys, so it is no cause of the other one.
            raise _kind_of(error)(_told(failed, error)) from None

    def _named(self, key: str) -> str:
        return f"{self.place}/{key}"


def _errors() -> tuple[type[Exception], ...]:
    from obstore.exceptions import BaseError

    return (BaseError, OSError, ValueError)


def _may_pass(error: Exception) -> bool:
    """Return whether the server may have stored the object all the same, or may do so soon."""
    from obstore.exceptions import GenericError

    status = STATUS.search(str(error))
    return isinstance(error, GenericError) and (status is None or status[1] >= "500" or status[1] in PASSING)


def _kind_of(error: Exception) -> type[MarketPipeError]:
    """The bucket itself is not one of its objects. What refuses one object would refuse the next one too."""
    text = str(error)
    is_lost = isinstance(error, FileNotFoundError) or OUT_OF_RANGE.search(text)
    return ObjectLostError if is_lost and "NoSuchBucket" not in text else StoreUnreachableError


def _told(failed: str, error: Exception) -> str:
    from obstore.exceptions import PermissionDeniedError, UnauthenticatedError

    text = str(error)
    status, code = STATUS.search(text), CODE.search(text)
    answer = " ".join(["error", *(each[1] for each in (status, code) if each)]) if status or code else ""
    if code and code[1] == "NoSuchBucket":
        why, advice = "there is no such bucket", "create it, or correct its name"
    elif isinstance(error, PermissionDeniedError | UnauthenticatedError) or (status and status[1] in NOT_ALLOWED):
        why, advice = answer or "not allowed", "check the AWS_… variables, and what the policy of the bucket allows"
    elif isinstance(error, FileNotFoundError):
        why, advice = "it does not exist", "see that nothing but MarketPipe removes objects from it"
    elif OUT_OF_RANGE.search(text):
        why, advice = "it is shorter than the state says", "restore the object from a backup"
    elif isinstance(error, ValueError):
        why, advice = "a name or a setting is not valid", "check the bucket and the AWS_… variables"
    else:
        why, advice = (
            answer or "the server did not answer",
            "check the network, AWS_ENDPOINT_URL and AWS_REGION, and try again",
        )
    return f"{failed}: {why}; {advice}"


def _nanoseconds(moment: datetime) -> int:
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000_000 + since.microseconds * 1000
