"""Arguments that are named wrongly: constructors of the configuration, and functions, name the nearest valid one."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from inspect import Parameter, Signature
from typing import Any, ParamSpec, TypeVar

from attrs import NOTHING, Attribute, Factory, fields

from marketpipe.shared_kernel.domain.errors import ConfigurationError, did_you_mean

C = TypeVar("C", bound=type)
P = ParamSpec("P")
T = TypeVar("T")
STATED = "__init__"
GENERATED = "__attrs_init__"
"""The name of the constructor that attrs makes of a class that states one itself."""


def with_stated_arguments(cls: C) -> C:
    """Let a class of attrs whose arguments are keywords have a constructor that a reader and ``help`` understand.

    A class may state an ``__init__`` without a body, with the types that its fields accept; one that does not accepts
    those that its fields have. Defaults are those of the fields. An unknown argument, and one that is missing, is a
    ``ConfigurationError``.
    """
    known = {attribute.name: attribute for attribute in fields(cls)}
    generated: Callable[..., None] = getattr(cls, GENERATED, None) or getattr(cls, STATED)
    stated = inspect.signature(getattr(cls, STATED)).parameters if GENERATED in vars(cls) else {}

    def construct(self: object, /, **given: Any) -> None:
        for name in given:
            if name not in known:
                raise ConfigurationError(f"{cls.__name__}: unknown argument {name!r}; {did_you_mean(name, known)}")
        if missing := [name for name, each in known.items() if each.default is NOTHING and name not in given]:
            raise ConfigurationError(f"{cls.__name__}: missing {', '.join(missing)}")
        generated(self, **given)

    construct.__name__, construct.__qualname__ = STATED, f"{cls.__qualname__}.{STATED}"
    construct.__module__, construct.__doc__ = cls.__module__, None
    in_order = [known[name] for name in stated if name in known] or list(known.values())
    parameters = [Parameter("self", Parameter.POSITIONAL_ONLY), *(_parameter(each, stated) for each in in_order)]
    construct.__signature__ = Signature(parameters, return_annotation=_Text("None"))  # type: ignore[attr-defined]
    setattr(cls, STATED, construct)
    if GENERATED in vars(cls):
        delattr(cls, GENERATED)
    return cls


def with_known_arguments(function: Callable[P, T]) -> Callable[P, T]:
    """Let a function name the nearest argument in the ``TypeError`` for an unknown one. ``help`` shows it as it was."""
    known = [name for name in inspect.signature(function).parameters if name != "self"]

    @wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> T:
        for name in kwargs:
            if name not in known:
                near = did_you_mean(name, known)
                raise TypeError(f"{function.__name__}() got an unexpected keyword argument {name!r}; {near}")
        return function(*args, **kwargs)

    return checked


class _Text(str):
    """Text that ``help`` shows without quotation marks."""

    __slots__ = ()
    __repr__ = str.__str__


COMPUTED = _Text("...")
"""In the place of a default that is made for each object, or computed from other arguments."""


def _parameter(attribute: Attribute[Any], stated: Mapping[str, Parameter]) -> Parameter:
    kind = stated[attribute.name].annotation if attribute.name in stated else attribute.type
    default: object = COMPUTED if isinstance(attribute.default, Factory) else attribute.default  # type: ignore[arg-type]
    return Parameter(
        attribute.name,
        Parameter.KEYWORD_ONLY,
        default=Parameter.empty if default is NOTHING else default,
        annotation=_Text(kind) if isinstance(kind, str) else kind,
    )
