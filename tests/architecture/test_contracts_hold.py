from __future__ import annotations

import re
from collections.abc import Mapping

import pytest

from tests.architecture.linting import CONTRACTS, PROJECT, SOURCES, contracts, lint

ADR = re.compile(r"See (docs/adr/\d{4}-[a-z-]+\.md)\.")


def test_every_contract_is_kept_and_one_import_alone_is_ignored() -> None:
    run = lint(SOURCES)
    assert run.passed, run.report
    assert run.broken == set()
    assert run.judged == set(contracts())
    assert run.ignored_imports == {"6": 1}


def test_the_ignored_import_is_the_entry_point_that_runs_the_command_line() -> None:
    ignoring = {
        number: contract["ignore_imports"].split("\n")
        for number, contract in contracts().items()
        if "ignore_imports" in contract
    }
    assert ignoring == {"6": ["", "marketpipe.ingestion.__main__ -> runpy"]}


def test_contracts_are_the_nine_of_the_house_each_part_with_its_own_number() -> None:
    assert {number[0] for number in contracts()} == set("123456789")
    assert len(contracts()) == CONTRACTS.read_text("utf-8").count("\n[importlinter:")


@pytest.mark.parametrize("contract", contracts().values(), ids=contracts())
def test_guidance_gives_advice_and_names_an_adr(contract: Mapping[str, str]) -> None:
    advice, _, reference = contract["broken_contract_guidance"].strip().rpartition("\n")
    assert len(advice.split()) >= 8
    assert ADR.fullmatch(reference)


def test_the_adrs_that_guidance_names_exist() -> None:
    named = set(ADR.findall(CONTRACTS.read_text("utf-8")))
    assert {name for name in named if not (PROJECT / name).is_file()} == set()
