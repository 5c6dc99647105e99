"""Pages of the public names: one page for each kind of name, written by mkdocstrings from the docstrings."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from marketpipe.pipeline import Pipeline

SOURCE = Path(__file__).parents[2] / "src" / "marketpipe"
STUB = SOURCE / "__init__.pyi"
TESTING = SOURCE / "testing" / "__init__.py"
FORMER: Final = {"ProviderTraits": "ProviderCapabilities"}
"""Names that still work, and what they are called now."""


class Name(NamedTuple):
    module: str
    """Where it is defined or exported, below ``marketpipe``: "pipeline"."""
    name: str


class Kind(NamedTuple):
    """Names that are on one page: those of modules that begin with one of these."""

    page: str
    title: str
    text: str
    modules: tuple[str, ...]


KINDS: Final = (
    Kind(
        "pipeline",
        "Pipeline and functions",
        "What most programs need. A `Pipeline` has every method; the functions are for one line of a notebook.",
        ("pipeline", "loader", "getter", "store_copying", "terminal.progress"),
    ),
    Kind(
        "configuration",
        "Configuration classes",
        "The same keys as in a [configuration file](../configuration.md), which has an example of each.",
        ("config",),
    ),
    Kind("errors", "Errors", "Every error is below `MarketPipeError`.", ("shared_kernel.domain.errors",)),
    Kind(
        "reports",
        "Reports",
        "What the methods of a pipeline return. All are frozen.",
        ("reports", "ingestion.domain", "storage.domain", "integration.domain", "report_page"),
    ),
    Kind(
        "events",
        "Events",
        "`pipeline.subscribe(BarsStored, observer)` calls your function for each event of that class.",
        ("shared_kernel.events",),
    ),
    Kind("values", "Values", "Symbols, dates, times, bars, and what describes them.", ("shared_kernel.domain",)),
    Kind(
        "provider-kit",
        "Writing a provider",
        "What a [provider of your own](../../how-to/write-a-provider.md) uses.",
        ("provider_kit",),
    ),
)
"""A name belongs to the first kind that has its module."""

OPTIONS_OF_A_PIPELINE: Final = "    options:\n      inherited_members: true\n      filters: [{filters}]\n"
OPTIONS_OF_A_METHOD: Final = "    options:\n      heading_level: 4\n"


def public_names() -> Iterator[Name]:
    """Yield the public names as the stub of ``marketpipe`` lists them."""
    for statement in ast.parse(STUB.read_text("utf-8")).body:
        if isinstance(statement, ast.ImportFrom):
            yield from (Name(statement.module or "", alias.name) for alias in statement.names)


def names_for_tests() -> Iterator[Name]:
    """Yield the names of ``marketpipe.testing``, with the modules that define them."""
    for statement in ast.parse(TESTING.read_text("utf-8")).body:
        if isinstance(statement, ast.ImportFrom) and (statement.module or "").startswith("marketpipe.testing"):
            module = (statement.module or "").removeprefix("marketpipe.")
            yield from (Name(module, alias.name) for alias in statement.names)


def kind_of(name: Name) -> Kind:
    """Return on which page a name is. Raises ``LookupError`` for a module that no page has."""
    for kind in KINDS:
        if any(name.module == module or name.module.startswith(f"{module}.") for module in kind.modules):
            return kind
    raise LookupError(f"marketpipe.{name.name} is of the module {name.module}: add the module to a page in {__file__}")


def pages() -> Mapping[str, str]:
    """Return the text of each page by its path. Every public name is on one of them."""
    names: dict[Kind, list[Name]] = {kind: [] for kind in KINDS}
    for name in public_names():
        names[kind_of(name)].append(name)
    texts = {f"reference/python/{kind.page}.md": _page(kind.title, kind.text, names[kind]) for kind in KINDS}
    text = "What the tests of a provider use: `pip install 'marketpipe[testing]'`, then `from marketpipe.testing import …`."
    texts["reference/python/testing.md"] = _page("Testing a provider", text, list(names_for_tests()))
    return texts


def _page(title: str, text: str, names: list[Name]) -> str:
    return f"# {title}\n\n{text}\n\n" + "\n".join(map(_entry, names))


def _entry(name: Name) -> str:
    if name.name in FORMER:
        return f"### {name.name}\n\nThe former name of `{FORMER[name.name]}`. It keeps working.\n"
    if name.name == "Pipeline":
        elsewhere = [_identifier(method) + OPTIONS_OF_A_METHOD for method in methods_of_other_modules()]
        hidden = ", ".join(
            f'"!^{pattern}$"' for pattern in ("_.*", *(each.name for each in methods_of_other_modules()))
        )
        return "\n".join([_identifier(name) + OPTIONS_OF_A_PIPELINE.format(filters=hidden), *elsewhere])
    return _identifier(name)


def _identifier(name: Name) -> str:
    return f"::: marketpipe.{name.module}.{name.name}\n"


def methods_of_other_modules() -> list[Name]:
    """Return the methods of ``Pipeline`` that are functions of other modules: mkdocstrings takes them for attributes."""
    found = [(name, getattr(Pipeline, name)) for name in dir(Pipeline) if not name.startswith("_")]
    functions = [(name, each) for name, each in found if inspect.isfunction(each)]
    return [Name(each.__module__.partition(".")[2], name) for name, each in functions if each.__qualname__ == name]
