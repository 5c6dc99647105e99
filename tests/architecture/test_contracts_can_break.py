"""Contracts break when they should. ``make test`` tries some breaches, ``make test-thoroughly`` all of them."""

from __future__ import annotations

from functools import cache
from itertools import chain
from pathlib import Path
from typing import Final

import pytest

from tests.architecture.breaches import BREACHES, Breach
from tests.architecture.linting import SOURCES, contracts, copy_of_the_package, lint
from tests.support.examples import ALL, some, tries_more

CONTEXTS: Final = ("ingestion", "integration", "validation", "storage")
PURE_PACKAGES: Final = (
    *(f"{context}.{layer}" for context in CONTEXTS for layer in ("domain", "application")),
    "shared_kernel.domain",
)
FIRST_OF_EACH: Final = {number: breach for breach in reversed(BREACHES) for number in breach.contracts}
TRIED: Final = some(BREACHES if ALL else [breach for breach in BREACHES if breach in FIRST_OF_EACH.values()])


def _imports_of(modules: list[str]) -> str:
    return "".join(f"import {module}\n" for module in modules)


@cache
def _broken_already() -> frozenset[str]:
    return lint(SOURCES).broken


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A copy to break. Where the project itself breaks a contract, test_contracts_hold.py fails, and enough is said."""
    if _broken_already():
        pytest.skip(f"the project itself breaks {', '.join(sorted(_broken_already()))}")
    return copy_of_the_package(tmp_path)


def test_an_untouched_copy_keeps_every_contract(tmp_path: Path) -> None:
    copy_of_the_package(tmp_path)
    run = lint(tmp_path)
    assert run.passed, run.report
    assert run.judged == set(contracts())
    assert run.broken == set()


@tries_more
@pytest.mark.parametrize("breach", TRIED, ids=lambda breach: breach.name)
def test_a_forbidden_import_breaks_its_contracts_and_no_other(breach: Breach, package: Path) -> None:
    path = package / breach.path
    assert path.exists() is not breach.creates
    path.parent.mkdir(exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(f"\n\n{breach.source}\n")

    run = lint(package.parent)

    assert run.broken == breach.contracts, run.report
    assert run.judged == set(contracts())
    assert not run.passed


def test_each_contract_has_a_breach() -> None:
    assert frozenset[str]().union(*(breach.contracts for breach in BREACHES)) == set(contracts())


@pytest.mark.parametrize("importer", CONTEXTS)
def test_no_context_can_import_another(importer: str, package: Path) -> None:
    others = [f"marketpipe.{context}" for context in CONTEXTS if context != importer]
    borrowed = package / importer / "infrastructure" / "borrowed.py"
    borrowed.write_text(_imports_of([f"{other}.domain" for other in others]), "utf-8")

    run = lint(package.parent)

    assert run.broken == {"1", "4a"}
    assert [o for o in others if f"marketpipe.{importer} is not allowed to import {o}:" not in run.report] == []


def test_no_pure_package_can_import_any_forbidden_module(package: Path) -> None:
    forbidden = contracts()["5"]["forbidden_modules"].split()
    for pure in PURE_PACKAGES:
        package.joinpath(*pure.split("."), "impure.py").write_text(_imports_of(forbidden), "utf-8")

    report = lint(package.parent).report

    expected = [f"-   marketpipe.{pure}.impure -> {module} (l." for pure in PURE_PACKAGES for module in forbidden]
    assert [line for line in expected if line not in report] == []


def test_every_protected_module_is_out_of_reach_of_run_tally(package: Path) -> None:
    protecting = {n: c["protected_modules"].split() for n, c in contracts().items() if c["type"] == "protected"}
    modules = [*chain.from_iterable(protecting.values())]
    with (package / "observers.py").open("a", encoding="utf-8") as file:
        file.write(_imports_of(modules))

    run = lint(package.parent)

    assert protecting.keys() <= run.broken
    assert [m for m in modules if f"- marketpipe.observers -> {m} (l." not in run.report] == []
