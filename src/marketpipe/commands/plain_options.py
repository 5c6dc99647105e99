"""Options whose text needs no conversion are taken as they are, without pydantic.

typer converts the value of every option with pydantic, even one that was not given: importing it, and making an adapter
for each option, takes as long as ``marketpipe --help``. So texts, paths and what was not given are taken here, and
everything else is left to typer, with its messages. See ADR 0044.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

KEPT: Final = "_runtime_param"
"""Where typer keeps what converts the values of an option, once that is made. A version without it converts as ever."""


def take_plain_values(options: Iterable[Any]) -> None:
    for option in options:
        if getattr(option, KEPT, ...) is None:
            setattr(option, KEPT, _PlainValues(option))


class _PlainValues:
    """In the place of what typer would make to convert the values of one option."""

    def __init__(self, option: Any) -> None:
        self._wanted, self._facts = option.type_descriptor.annotation, option.type_descriptor.parameter_info

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        is_many = param.multiple or param.nargs == -1
        if value is None:
            return () if is_many else None
        if self._facts.parser is None:
            if self._wanted is str and isinstance(value, str):
                return value
            if self._wanted == list[str] and not isinstance(value, str) and all(isinstance(one, str) for one in value):
                return list(value)
            if self._wanted is Path and self._is_usual_path(value):
                return Path(value)
        setattr(param, KEPT, None)
        return param.get_runtime_param().coerce(value, param=param, ctx=ctx)

    def _is_usual_path(self, value: Any) -> bool:
        """Return whether typer would have nothing to refuse or to change in this path."""
        facts = self._facts
        checked = facts.exists or facts.resolve_path or facts.writable or facts.allow_dash or facts.path_type
        limited = not (facts.file_okay and facts.dir_okay)
        return not checked and not limited and isinstance(value, str) and _is_readable_or_missing(value)


def _is_readable_or_missing(path: str) -> bool:
    return not os.path.exists(path) or os.access(path, os.R_OK)
