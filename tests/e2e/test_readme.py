"""Every claim of the README is run."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from marketpipe import Pipeline, StoreConfig, testing
from marketpipe.metrics import metrics_in
from marketpipe.terminal.store import StoreCollector
from marketpipe.validation.domain.business_rules import ALWAYS_ERRORS, BUSINESS_RULES, SEQUENCE_RULES
from tests.support.child_processes import run
from tests.support.cli_process import environment, marketpipe

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
(EXAMPLE,) = re.findall(r"<!-- tests/e2e/test_readme.py runs this example -->\n```python\n(.*?)```", README, re.S)

(FRAMES,) = re.findall(r"<!-- tests/e2e/test_readme.py runs these lines too -->\n```python\n(.*?)```", README, re.S)
(PROVIDER,) = re.findall(r"<!-- tests/e2e/test_readme.py runs this provider -->\n```python\n(.*?)```", README, re.S)

(METRICS,) = re.findall(r"<!-- tests/e2e/test_readme.py runs these metrics -->\n```python\n(.*?)```", README, re.S)
(IMPORT,) = re.findall(r"<!-- tests/e2e/test_readme.py runs this import -->\n```python\n(.*?)```", README, re.S)


def test_a_file_is_read_and_imported_as_it_stands(tmp_path: Path) -> None:
    (tmp_path / "AAPL.txt").write_text("01/02/2024,09:30,187.15,187.4,187.1,187.3,12000\n")
    done = run([sys.executable, "-c", IMPORT], cwd=tmp_path, env=environment())
    assert (done.returncode, done.stdout) == (0, "True 1\n"), done.stderr


def test_the_metrics_of_an_ingestion_are_printed(tmp_path: Path) -> None:
    done = run([sys.executable, "-c", METRICS], cwd=tmp_path, env=environment())
    assert 'marketpipe_backlog_symbol_days{provider="synthetic"} 0.0' in done.stdout, done.stderr
    assert 'marketpipe_partitions_written_total{provider="synthetic"} 4.0' in done.stdout


def test_every_metric_is_in_the_readme(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    metrics_in(registry)
    names = {f"{family.name}{'_total' if family.type == 'counter' else ''}" for family in registry.collect()}
    with Pipeline(StoreConfig(root=tmp_path)) as pipeline:
        names |= {family.name for family in StoreCollector(pipeline).collect()}
    assert names == set(re.findall(r"`(marketpipe_\w+)`", README))


def test_an_object_with_the_methods_of_the_port_is_a_provider(tmp_path: Path) -> None:
    done = run([sys.executable, "-c", PROVIDER], cwd=tmp_path, env=environment())
    assert (done.returncode, done.stdout) == (0, "completed 4\n"), done.stderr


def test_every_name_of_the_testing_kit_is_in_the_readme_but_for_types_of_others() -> None:
    types = {"Answer", "BarRow", "Connection", "Fault", "RecordedExchange"}
    assert {name for name in testing.__all__ if not re.search(rf"\b{name}\b", README)} == types


def test_the_library_example_runs_as_it_stands(tmp_path: Path) -> None:
    done = run([sys.executable, "-c", EXAMPLE], cwd=tmp_path, env=environment())
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("completed ")
    assert "AAPL 2024-11-25 complete" in done.stdout

    found = "\nprint(closes.shape[1], len(volumes), len(last.fetchall()), len(days))"
    done = run([sys.executable, "-c", FRAMES + found], cwd=tmp_path, env=environment())
    assert (done.returncode, done.stdout) == (0, "2 8 2 4\n"), done.stderr  # 28 November is a holiday
    assert (tmp_path / "aapl.html").exists()


def test_every_command_and_option_named_in_the_readme_exists(tmp_path: Path) -> None:
    for command in re.findall(r"`marketpipe (\w+)", README):
        done = marketpipe(command, "--help", cwd=tmp_path)
        assert done.returncode == 0, command
    shown = marketpipe("ingest", "--help", cwd=tmp_path).stdout
    (paragraph,) = re.findall(r"^`ingest` takes (.*?)\. They override", README, re.S | re.M)
    for option in re.findall(r"--[a-z-]+", paragraph):
        assert option in shown


def test_every_rule_is_in_the_readme_with_its_severity() -> None:
    rows = [line for line in README.splitlines() if re.match(r"\| `\w+`.*\| (error(, always)?|warning|off) \|", line)]
    listed = {name: line.split("|")[2].strip() for line in rows for name in re.findall(r"`(\w+)`", line.split("|")[1])}
    rules = {rule.name: str(rule.severity) for rule in BUSINESS_RULES}
    rules |= {rule.name: str(rule.severity) for rule in SEQUENCE_RULES}
    assert listed == {name: f"{rule}, always" if name in ALWAYS_ERRORS else rule for name, rule in rules.items()}


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_every_file_a_page_points_to_exists(page: str) -> None:
    text = (ROOT / page).read_text("utf-8")
    links = [link for link in re.findall(r"\]\(([^)]+)\)", text) if not link.startswith("http")]
    paths = re.findall(r"`((?:src|tests|config|docs|schema)/[\w/.-]+)`", text)
    assert links or paths
    for path in [*(link for link in links if not link.startswith("#")), *paths]:
        assert (ROOT / path).exists(), path
    headings = {
        re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in re.findall(r"^#+ (.*)$", text, re.M)
    }
    assert {link.removeprefix("#") for link in links if link.startswith("#")} <= headings


def test_the_library_example_satisfies_a_strict_type_checker(tmp_path: Path) -> None:
    (tmp_path / "example.py").write_text(EXAMPLE)
    command = [sys.executable, "-m", "mypy", "--strict", str(tmp_path / "example.py")]
    done = run(command, cwd=ROOT)  # where the lint keeps what it knows of our modules
    assert done.returncode == 0, done.stdout
