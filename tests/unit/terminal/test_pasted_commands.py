from __future__ import annotations

from pathlib import Path

import pytest

from marketpipe.terminal.pasted_commands import as_given, naming, with_given_options

ROOT, FILE = Path("my bars"), Path("other.yaml")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("'marketpipe ingest' requests it", "'marketpipe ingest --root 'my bars' --config other.yaml' requests it"),
        ("'marketpipe compact --undo'", "'marketpipe compact --root 'my bars' --config other.yaml --undo'"),
        ("'marketpipe ingest --root x'", "'marketpipe ingest --config other.yaml --root x'"),
        ("'marketpipe config show'", "'marketpipe config show --root 'my bars' --config other.yaml'"),
        ("'marketpipe init' writes one", "'marketpipe init' writes one"),
        ("'ingest' of marketpipe", "'ingest' of marketpipe"),
    ],
)
def test_commands_in_messages_get_the_options_that_were_given(text: str, expected: str) -> None:
    with naming(ROOT, FILE):
        assert with_given_options(text) == expected
    with naming(None, None):
        assert with_given_options(text) == text
    assert with_given_options(text) == text


def test_a_command_that_is_printed_alone_gets_the_options_that_were_given() -> None:
    with naming(ROOT, None):
        assert as_given("marketpipe audit --adopt") == "marketpipe audit --root 'my bars' --adopt"
    assert as_given("marketpipe audit --adopt") == "marketpipe audit --adopt"
