from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from marketpipe.shared_kernel.domain.errors import ValidationError
from marketpipe.testing import LoopbackRequest, LoopbackServer, Response, forwarded_to, replayed, save_recording

SECRET = "s3cr3t-t0ken"
BINARY = bytes(range(256))


def the_real_server(request: LoopbackRequest) -> Response:
    if request.headers.get("authorization") != SECRET:
        return Response(401, {"message": "who are you?"})
    if request.path == "/binary":
        return Response(body=BINARY, headers={"Content-Type": "application/octet-stream"})
    if request.path == "/moved":
        return Response(302, b"", {"Location": "/binary"})
    return Response(body={"symbol": request.query["symbol"]}, headers={"X-RateLimit-Remaining": "9"})


def get(url: str) -> tuple[int, bytes]:
    asked = urllib.request.Request(url, headers={"Authorization": SECRET})
    try:
        with urllib.request.urlopen(asked, timeout=10) as reply:
            return reply.status, reply.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    file = tmp_path / "acme.jsonl"
    with LoopbackServer(the_real_server) as real, LoopbackServer(forwarded_to(real.url)) as recorder:
        for path in ("/bars?symbol=AAPL&apikey=secret-key", "/bars?symbol=MSFT&apikey=secret-key", "/binary"):
            assert get(f"{recorder.url}{path}")[0] == 200
        save_recording(file, recorder.exchanges, without=["apikey"])
    return file


def test_a_recording_is_replayed_without_the_server_and_without_keys(recording: Path) -> None:
    with LoopbackServer(replayed(recording)) as server:
        assert get(f"{server.url}/bars?apikey=another&symbol=MSFT") == (200, b'{"symbol": "MSFT"}')
        assert get(f"{server.url}/bars?symbol=AAPL") == (200, b'{"symbol": "AAPL"}')
        assert get(f"{server.url}/binary") == (200, BINARY)
        assert server.exchanges[0].response.headers["X-RateLimit-Remaining"] == "9"


def test_a_recording_has_no_secrets(recording: Path) -> None:
    text = recording.read_text()
    assert SECRET not in text
    assert "secret-key" not in text
    assert json.loads(text.splitlines()[0]) == {"marketpipe_recording": 1, "without": ["apikey"]}


def test_what_was_not_recorded_is_a_404_that_names_it(recording: Path) -> None:
    response = replayed(recording)(LoopbackRequest("/bars", {"symbol": "TSLA"}))
    assert (response.status, b"acme.jsonl has no response to /bars?symbol=TSLA" in response.body) == (404, True)


def test_what_was_recorded_several_times_comes_in_turn(tmp_path: Path) -> None:
    responses = iter([Response(500), Response(body={"bars": 1})])
    with LoopbackServer(lambda _: next(responses)) as server:
        assert [get(server.url)[0] for _ in range(2)] == [500, 200]
        save_recording(tmp_path / "twice.jsonl", server.exchanges)
    answer = replayed(tmp_path / "twice.jsonl")
    assert [answer(LoopbackRequest("/")).status for _ in range(3)] == [500, 200, 200]


def test_an_error_and_a_redirect_are_forwarded_as_they_are() -> None:
    with LoopbackServer(the_real_server) as real:
        answer = forwarded_to(f"{real.url}/")
        assert answer(LoopbackRequest("/bars", {"symbol": "AAPL"})).status == 401
        moved = answer(LoopbackRequest("/moved", {}, {"authorization": SECRET}))
    assert (moved.status, moved.headers["Location"]) == (302, "/binary")


@pytest.mark.parametrize("text", ["", "not JSON", "{}", '{"marketpipe_recording": 2}', "[]"])
def test_another_file_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.jsonl").write_text(text)
    with pytest.raises(ValidationError, match=r"x\.jsonl is not a recording"):
        replayed(tmp_path / "x.jsonl")
