"""Whatever fails, the key and the secret show nowhere: no log, error, dump, report, metric or file."""

from __future__ import annotations

import copy
import io
import logging
import pickle
import pprint
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import attrs
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from marketpipe import ConfigurationError, Credentials, Pipeline, PipelineConfig
from marketpipe.composition import provider
from marketpipe.config import find_credentials, load_config
from marketpipe.integration.infrastructure.alpaca.alpaca_client import alpaca_auth
from marketpipe.shared_kernel.domain.errors import MarketPipeError, ProviderError
from marketpipe.testing import READERS, FakeClock, Response, bars_request
from tests.support.alpaca_loopback import AlpacaLoopback
from tests.support.child_processes import Popen
from tests.support.cli_process import start_fresh_marketpipe, start_marketpipe
from tests.support.clients import KEY, SECRET, AlpacaSetting, exchange
from tests.support.echoing_answers import ANSWERS, DIFFERENTLY_WRITTEN, PAIR
from tests.support.examples import some
from tests.support.started_cli import StartedCli
from tests.support.traces_of_secrets import dump_of, everything_in, found_in, pretty_dump_of
from tests.support.wire_server import SILENCE, Wire, WireServer

ENVIRONMENT = {"ALPACA_KEY": KEY, "ALPACA_SECRET": SECRET}
ASKED = bars_request(("AAPL",), "2024-03-11", "2024-03-11")


def _config(folder: Path, url: str) -> PipelineConfig:
    paths = {name: folder / name for name in ("output_path", "aggregates_path", "quarantine_path", "revisions_path")}
    return PipelineConfig(
        provider="alpaca",
        symbols=["AAPL", "MSFT"],
        start="2024-03-11",
        end="2024-03-11",
        timeframes=["1d"],
        state_path=folder / "state" / "marketpipe.sqlite",
        alpaca={"base_url": url, "rate_limit_per_min": 1_000_000},
        **paths,
    )


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """All that a program logs which turns everything on."""
    stream, root = io.StringIO(), logging.getLogger()
    handler, level = logging.StreamHandler(stream), root.level
    handler.setFormatter(logging.Formatter("%(name)s %(message)s"))
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield stream
    root.removeHandler(handler)
    root.setLevel(level)


def _assert_silent(*texts: str) -> None:
    for text in texts:
        if found := found_in(text, KEY, SECRET):  # a comparison would print a long text for a long time
            pytest.fail(f"{found} in {text[:20_000]}")


def test_a_trace_is_found_in_every_form() -> None:
    """Or silence would mean nothing."""
    for name, answer in ANSWERS.items():
        shown = answer[-1].sent.decode("latin-1")
        html = "&#" in shown or "&amp;" in shown
        assert found_in(shown, KEY, SECRET) or html or "small" in name, name


@pytest.mark.parametrize("name", some(name for name in ANSWERS if name not in DIFFERENTLY_WRITTEN))
def test_an_ingestion_shows_no_secret_whatever_the_server_repeats(
    tmp_path: Path, logged: io.StringIO, name: str
) -> None:
    registry, shown_texts = CollectorRegistry(), list[str]()
    with WireServer(*ANSWERS[name]) as server:
        pipeline = Pipeline(
            _config(tmp_path, server.url),
            credentials=Credentials(KEY, SECRET),
            registry=registry,
            clock=FakeClock(),
        )
        with pipeline:
            try:
                report = pipeline.ingest()
                shown_texts += [repr(report), pprint.pformat(attrs.asdict(report)), repr(report.failures)]
            except MarketPipeError as error:
                shown_texts.append(dump_of(error))
            shown_texts += [repr(pipeline.status()), repr(pipeline)]
            _assert_silent(*shown_texts, logged.getvalue(), everything_in(tmp_path), generate_latest(registry).decode())
    assert SECRET.encode() in server.requests[0]
    assert "httpcore" in logged.getvalue()
    _assert_silent(everything_in(tmp_path), *(bytes(r).partition(b"\r\n")[0].decode() for r in server.requests))


@pytest.mark.parametrize("reader", READERS, ids=["sync", "async"])
@pytest.mark.parametrize("answers", some(ANSWERS.values()), ids=some(ANSWERS))
def test_a_crash_dump_shows_no_secret_whatever_the_server_repeats(
    reader: object, logged: io.StringIO, answers: tuple[Wire, ...]
) -> None:
    with WireServer(*answers) as server:
        setting = AlpacaSetting(exchange(server.url))
        try:
            shown = repr(reader(setting.client, ASKED))  # type: ignore[operator]
        except ProviderError as error:
            shown = dump_of(error) + pprint.pformat(error)
        setting.client.close()
    _assert_silent(shown, logged.getvalue(), repr(setting.events))


def test_a_request_that_cannot_be_sent_shows_no_secret_in_a_crash_dump(logged: io.StringIO) -> None:
    """The frames of the HTTP library hold the headers."""
    setting = AlpacaSetting(exchange("http://127.0.0.1:9"))
    with pytest.raises(ProviderError) as refused:
        list(setting.client.fetch_batch(ASKED))
    setting.client.close()
    _assert_silent(dump_of(refused.value), pretty_dump_of(refused.value), logged.getvalue())


@pytest.mark.parametrize("trouble", ["the state is garbage", "the state is a folder", "a folder is a file"])
def test_trouble_with_the_machine_shows_no_secret(tmp_path: Path, logged: io.StringIO, trouble: str) -> None:
    (tmp_path / "state").mkdir()
    if trouble == "the state is garbage":
        (tmp_path / "state" / "marketpipe.sqlite").write_bytes(b"garbage" * 1000)
    elif trouble == "the state is a folder":
        (tmp_path / "state" / "marketpipe.sqlite").mkdir()
    else:
        (tmp_path / "output_path").write_text("not a folder")
    bars = {"AAPL": [{"t": "2024-03-11T13:30:00Z", "o": 1, "h": 1, "l": 1, "c": 1, "v": 1, "n": 1, "vw": 1}]}
    with AlpacaLoopback(bars) as server, ExitStack() as undo:
        keys = Credentials(KEY, SECRET)
        try:
            pipeline = Pipeline(_config(tmp_path, server.url), credentials=keys, registry=CollectorRegistry())
            shown = repr(undo.enter_context(pipeline).ingest())
        except MarketPipeError as error:
            shown = dump_of(error)
    _assert_silent(shown, logged.getvalue(), everything_in(tmp_path))


def test_what_holds_the_keys_shows_them_to_no_dump(tmp_path: Path) -> None:
    keys = Credentials(KEY, SECRET)
    auth = alpaca_auth(keys.key, keys.secret)
    pipeline = Pipeline(_config(tmp_path, "http://127.0.0.1:9"), credentials=keys, registry=CollectorRegistry())
    with pipeline:
        held = (keys, auth, pipeline, pipeline._parts, provider(pipeline._parts), pipeline.config)
        for thing in held:
            dictionary = attrs.asdict(thing) if attrs.has(type(thing)) else vars(thing)
            _assert_silent(repr(thing), str(thing), f"{[thing]} {dictionary}", pprint.pformat(dictionary))
            _assert_silent(pprint.pformat(getattr(thing, "__dict__", {})))
        for thing in held[:2]:
            with pytest.raises(TypeError, match="cannot be pickled"):
                pickle.dumps(thing)
        assert copy.deepcopy(keys) == keys == Credentials(KEY, SECRET)


@pytest.mark.parametrize("environment", [{"ALPACA_SECRET": SECRET}, {"ALPACA_KEY": KEY, "APCA_API_SECRET_KEY": SECRET}])
def test_half_a_pair_shows_in_no_dump(tmp_path: Path, environment: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError) as refused:
        find_credentials(dict(environment), tmp_path / ".env")
    _assert_silent(dump_of(refused.value))


@pytest.mark.parametrize("content", [b"ALPACA_SECRET=%s\n\xff\xfe", b"\xff ALPACA_SECRET=%s\n"])
def test_a_dotenv_that_is_not_text_shows_in_no_dump(tmp_path: Path, content: bytes) -> None:
    (tmp_path / ".env").write_bytes(content % SECRET.encode())
    with pytest.raises(ConfigurationError, match="is not text") as refused:
        find_credentials({}, tmp_path / ".env")
    _assert_silent(dump_of(refused.value))


@pytest.mark.parametrize("key", ["secret", "alpaca: {secret", "token", "ALPACA_SECRET"])
def test_a_configuration_with_a_secret_in_it_shows_it_in_no_error(tmp_path: Path, key: str) -> None:
    file = tmp_path / "marketpipe.yaml"
    file.write_text(f"provider: alpaca\nsymbols: [AAPL]\nstart: 2024-03-11\nend: 2024-03-11\n{key}: '{SECRET}'\n")
    if "{" in key:
        file.write_text(file.read_text().rstrip() + "}\n")
    with pytest.raises(ConfigurationError) as refused:
        load_config(file)
    _assert_silent(str(refused.value))


@pytest.mark.slow
def test_the_command_line_shows_no_secret_though_it_is_wrong_refused_or_killed(tmp_path: Path) -> None:
    refusal = Response(401, f'{{"message": "{PAIR}", "again": "{SECRET}"}}'.encode())
    with AlpacaLoopback({}, fault=lambda *_: refusal) as refusing, WireServer(SILENCE) as silent, ExitStack() as files:
        folders = {name: tmp_path / name for name in ("refused", "wrong", "option", "killed")}
        for name, folder in folders.items():
            folder.mkdir()
            url = silent.url if name == "killed" else refusing.url
            _write(folder / "marketpipe.yaml", url, feed="sipp" if name == "wrong" else "sip")
        running = {name: _start(name, folder) for name, folder in folders.items()}
        files.callback(lambda: [process.kill() for process in running.values()])
        while not silent.requests and running["killed"].poll() is None:
            time.sleep(0.02)
        running["killed"].send_signal(signal.SIGABRT)
        shown = {name: process.communicate(timeout=60) for name, process in running.items()}
    assert (running["refused"].returncode, running["wrong"].returncode, running["option"].returncode) == (1, 2, 2)
    assert running["killed"].returncode == -signal.SIGABRT
    assert "Traceback" in shown["refused"][1]
    assert "Fatal Python error: Aborted" in shown["killed"][1]
    _assert_silent(*("".join(texts) for texts in shown.values()), everything_in(tmp_path))


def _write(file: Path, url: str, feed: str) -> None:
    file.write_text(
        "provider: alpaca\nsymbols: [AAPL]\nstart: 2024-03-11\nend: 2024-03-11\n"
        f"alpaca: {{base_url: '{url}', feed: {feed}}}\n"
    )


def _start(name: str, folder: Path) -> Popen[str] | StartedCli:
    words = ["--debug", "ingest", "--config", "marketpipe.yaml"]
    if name == "option":
        words += [f"--secret={SECRET}"]
    if name == "killed":  # a new interpreter dumps where it was
        return start_fresh_marketpipe(*words, cwd=folder, env={**ENVIRONMENT, "PYTHONFAULTHANDLER": "1"})
    return start_marketpipe(*words, cwd=folder, env=ENVIRONMENT)
