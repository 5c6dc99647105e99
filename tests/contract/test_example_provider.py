from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest

import marketpipe
import tests.support.example_provider as example
from marketpipe import (
    BadRequestError,
    ConfigurationError,
    CredentialsError,
    HttpExchange,
    MalformedResponseError,
    ProviderContext,
    RateLimiter,
    RateWindow,
)
from marketpipe.testing import (
    FakeClock,
    LoopbackRequest,
    LoopbackServer,
    Response,
    bars_in,
    bars_request,
    read_pages,
)
from tests.support.clients import exchange
from tests.support.documented_pages import block_for
from tests.support.scripted_transport import Answer, ScriptedTransport

DAY = bars_request(("AAPL",), "2024-03-11", "2024-03-11")


def context(**options: object) -> ProviderContext:
    return ProviderContext(options, FakeClock(), lambda _: None)


def acme(*answers: Answer) -> example.AcmeClient:
    return example.connect(context(), exchange("http://acme.test", ScriptedTransport(*answers)))


def test_example_provider_needs_only_public_names() -> None:
    tree = ast.parse(Path(example.__file__).read_text("utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    ours = [node for node in imports if node.module is not None and node.module.startswith("marketpipe")]
    names = {alias.name for node in ours for alias in node.names}
    assert [node.module for node in ours] == ["marketpipe"]
    assert names <= set(marketpipe.__all__)
    assert "BaseApiClient" in names


def test_make_acme_is_what_an_entry_point_may_name() -> None:
    provider = example.make_acme(context(token="t0ken"))
    assert provider.capabilities.name == "acme"
    provider.close()


def test_make_acme_names_the_missing_option() -> None:
    with pytest.raises(ConfigurationError, match="acme: token"):
        example.make_acme(context())


def test_acme_reads_milliseconds_and_follows_next_url() -> None:
    bar = {"symbol": "AAPL", "t": 1710163800000, "o": 1, "h": 2, "l": 0.5, "c": 1.5, "v": 10.25}
    pages = read_pages(
        acme(
            Answer(body={"results": [bar], "next_url": "https://elsewhere.example/v3/minutes?limit=9&cursor=abc"}),
            Answer(body={"results": [{**bar, "symbol": "TSLA"}]}),
        ),
        DAY,
    )
    assert [(page.num_rows, page.next_cursor, page.unrequested) for page in pages] == [(1, "abc", 0), (0, None, 1)]
    assert pages[0].columns["timestamp"].to_pylist()[0].isoformat() == "2024-03-11T13:30:00+00:00"


def test_a_key_in_the_query_and_an_unknown_symbol_are_as_the_documentation_has_them() -> None:
    given: dict[str, Any] = {}
    exec(block_for("tests/contract/test_example_provider.py", "classes"), given)
    client = type("Client", (given["AcmeClient"], example.AcmeClient), {})
    bar = {"symbol": "AAPL", "t": 1710163800000, "o": 1, "h": 2, "l": 0.5, "c": 1.5, "v": 10.25}

    def answer(request: LoopbackRequest) -> Response:
        if request.query.get("apikey") != "s3cret":
            return Response(401)
        return Response(404) if "ZZZZ" in request.query["symbols"] else Response(body={"results": [bar]})

    with LoopbackServer(answer) as server:
        http = HttpExchange(server.url, given["KeyInTheQuery"]("s3cret"))
        provider = client(example.CAPABILITIES, http, RateLimiter([RateWindow(100)], FakeClock()), FakeClock())
        pages = read_pages(provider, bars_request(("AAPL", "ZZZZ"), "2024-03-11", "2024-03-11"))
        server.fail_always(lambda _: Response(400, {"message": "the key s3cret is too old"}))
        with pytest.raises(BadRequestError) as refused:
            read_pages(provider, DAY)
        provider.close()

    assert [symbol for symbol, _ in bars_in(pages)] == ["AAPL"]
    assert [str(each.symbol) for page in pages for each in page.refused] == ["ZZZZ"]
    assert "s3cret" not in str(refused.value)


def test_acme_leaves_failures_to_the_base_client() -> None:
    with pytest.raises(CredentialsError, match=r"acme answered 401: who are you\?"):
        read_pages(acme(Answer(401, {"message": "who are you?"})), DAY)
    with pytest.raises(MalformedResponseError, match="not a page of Acme's bars"):
        read_pages(acme(Answer(body={"results": 5})), DAY)
