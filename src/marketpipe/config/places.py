"""Places of a store that are on no disk: a bucket of S3, and a database of PostgreSQL.

In a configuration such a place is a URL, such as ``s3://bucket/prefix``; as an attribute it is a ``Path`` like all
others, so that what computes with paths needs no other kind: the absolute path ``/s3:/bucket/prefix``, which is meant
for no disk. This is the one module that makes one of the other. See docs/adr/0048.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final, NoReturn
from urllib.parse import parse_qsl, unquote, urlsplit

from marketpipe.shared_kernel.domain.errors import ValidationError
from marketpipe.shared_kernel.domain.secret_text import with_urls

S3, POSTGRESQL = "s3", "postgresql"
EXAMPLES: Final = {S3: "s3://bucket/prefix", POSTGRESQL: "postgresql://user@host:5432/database"}
SECRETS: Final = {
    S3: "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment",
    POSTGRESQL: "write it into the file that PGPASSFILE names, or set PGPASSWORD in the environment",
}
_SPELLINGS: Final = {"s3": S3, "postgresql": POSTGRESQL, "postgres": POSTGRESQL}
_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_PART: Final = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9_.=+-]+")
_SECRET_OPTIONS: Final = frozenset({"password", "sslpassword"})


def scheme_of(path: Path) -> str | None:
    """Return ``S3`` or ``POSTGRESQL``; None for a place on a disk."""
    parts = path.parts[1:2] if path.is_absolute() else path.parts[:1]
    return _SPELLINGS.get(parts[0].removesuffix(":")) if parts and parts[0].endswith(":") else None


def url_of(path: Path) -> str:
    """Return the URL of a place that is on no disk; the path itself, as text, of any other."""
    return with_urls(str(path))


def is_on_disk(path: Path) -> bool:
    return scheme_of(path) is None


def place_of(value: str | Path, *allowed: str) -> Path | None:
    """Return the place that a URL of an allowed scheme means, given as text or as ``Path``; None for what is no such
    URL. Raises ``ValidationError`` for one that cannot be used: it quotes nothing that may be a secret.
    """
    scheme = scheme_of(Path(value))
    if scheme is None or scheme not in allowed:
        return None
    text = str(value)
    rest = re.split(r"(?<=:)/+", text.lstrip("/") if text.startswith("/") else text, maxsplit=1)
    if len(rest) < 2 or not rest[1]:
        raise ValidationError(f"expected {EXAMPLES[scheme]}")
    if scheme == S3:
        _check_bucket(rest[1])
    else:
        _check_database(rest[1])
    return Path(f"/{scheme}:/{rest[1].rstrip('/')}")


def _check_bucket(rest: str) -> None:
    bucket, _, prefix = rest.rstrip("/").partition("/")
    if "@" in rest or ":" in rest:
        _refuse_secret(S3)
    if not _BUCKET.fullmatch(bucket):
        raise ValidationError(f"expected {EXAMPLES[S3]}: a bucket has 3 to 63 of a-z, 0-9, dots and dashes")
    if not prefix:
        raise ValidationError(
            f"s3://{bucket} names no prefix: write s3://{bucket}/marketpipe, or any other, so that the bucket can hold "
            "other things too"
        )
    if not all(map(_PART.fullmatch, prefix.split("/"))):
        raise ValidationError(
            f"expected {EXAMPLES[S3]}: a prefix has letters, digits, _ . = + - and single slashes between them"
        )


def _check_database(rest: str) -> None:
    try:
        url = urlsplit(f"{POSTGRESQL}://{rest}")
        has_port = url.port != 0
        options = {name.lower() for name, _ in parse_qsl(url.query)}
    except ValueError:
        raise ValidationError(f"expected {EXAMPLES[POSTGRESQL]}") from None
    if url.password is not None or options & _SECRET_OPTIONS:
        _refuse_secret(POSTGRESQL)
    database = unquote(url.path.strip("/"))
    if not has_port or not url.netloc or not database or "/" in database or url.fragment:
        raise ValidationError(f"expected {EXAMPLES[POSTGRESQL]}; a socket is ?host=/var/run/postgresql after a user@")
    if str(Path(f"/{rest}")) != f"/{rest.rstrip('/')}" or ".." in Path(rest).parts:
        raise ValidationError(f"expected {EXAMPLES[POSTGRESQL]}, without double slashes and dots between slashes")


def _refuse_secret(scheme: str) -> NoReturn:
    raise ValidationError(f"{scheme}://… must not have keys or a password in it: {SECRETS[scheme]}")
