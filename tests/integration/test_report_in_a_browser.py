"""The report page in a real Chromium: every view opens, a cell leads to its day, and text of others stays text."""

from __future__ import annotations

import base64
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest

from marketpipe import AddressInUseError, ConfigurationError, Pipeline
from marketpipe.report_page.measures import NAMES
from marketpipe.report_page.page import rendered
from marketpipe.report_page.payload import packed
from marketpipe.report_page.server import ReportServer
from marketpipe.reporting import LiveReport
from tests.support.browser import NARROW, WIDE, chromium, complaints, resize, wait_for
from tests.support.documented_pages import ROOT, Interpreter, Reader, blocks
from tests.support.pipeline_ring import FRIDAY, THURSDAY, WEDNESDAY, minutes
from tests.support.reported_store import facts_in, provider, reported_store

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

TYPE = """
const field = document.querySelector(arguments[0]);
field.value = arguments[1];
field.dispatchEvent(new InputEvent('input', {bubbles: true}));
"""
CARDS = "return document.querySelector('.cards').innerText"
BAD_CARDS = "return [...document.querySelectorAll('.cards li.bad')].map(card => card.dataset.total)"
VIEWS = ("overview", "completeness", "gaps", "quality", "restatements", "official", "volumes", "aggregates", "day")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    with reported_store(tmp_path_factory.mktemp("browsed")) as made:
        yield made


@pytest.fixture(scope="module")
def browser(store: Pipeline, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    path = store.report().write(tmp_path_factory.mktemp("page") / "report.html")
    with chromium() as made:
        made.get(path.as_uri())
        yield made


def run(browser: Chrome, script: str, *arguments: Any) -> Any:
    return browser.execute_script(script, *arguments)  # type: ignore[no-untyped-call]


def large_page(facts: dict[str, Any]) -> str:
    """Return the page of 500 symbols and 1,250 sessions with random measures, and 16 MB of bars."""
    random, shape = np.random.default_rng(7), (500, 1250)
    dates = np.arange(1250).astype("datetime64[D]").astype(str).tolist()
    columns = {name: random.random(shape, np.float32) for name in NAMES}
    columns |= {name: random.integers(0, 390, shape) for name in ("bars", "rejected", "first", "last")}
    columns |= {name: random.integers(0, 8, shape) for name in ("verdicts", "evidence")}
    many = {
        "symbols": [f"S{number:03}" for number in range(500)],
        "dates": dates,
        "counts": dict.fromkeys(facts["verdicts"], 78_125),
        "hours": {"opens": [330] * 1250, "lengths": [390] * 1250, "halts": []},
        "columns": {name: packed(column) for name, column in columns.items()},
    }
    bars = base64.b64encode(random.bytes(12_000_000)).decode()
    return rendered({**facts, **many}, bars)


def answer_to(server: ReportServer, request: str) -> str:
    """Return the answer to a request as it is sent."""
    with socket.create_connection(("127.0.0.1", int(server.address.rstrip("/").rpartition(":")[2])), 10) as connection:
        connection.sendall(request.encode())
        return connection.makefile().read()


def opened(browser: Chrome, place: str) -> str:
    """Open a view, wait until it and its charts are drawn, and return its text."""
    run(browser, "document.documentElement.dataset.ready = ''; location.hash = ''; location.hash = arguments[0]", place)
    view = place.partition("/")[0]
    wait_for(lambda: run(browser, "return document.documentElement.dataset.ready") == view, f"the view {view}")
    drawn = "return [...document.querySelectorAll('section:not([hidden]) .chart')].every(c => c.querySelector('svg'))"
    wait_for(lambda: run(browser, drawn), f"the charts of {view}")
    return str(run(browser, "return document.querySelector('section:not([hidden])').innerText"))


def test_every_view_opens_without_a_complaint_wide_and_narrow(browser: Chrome) -> None:
    for size in (NARROW, WIDE):
        resize(browser, size)
        for view in VIEWS:
            assert len(opened(browser, view)) > 40, view
            assert run(browser, "return document.documentElement.scrollWidth") <= size[0], f"{view} is too wide"
            assert run(browser, "return document.querySelectorAll('section:not([hidden])').length") == 1

    assert complaints(browser) == []


def test_a_reason_that_is_a_script_is_shown_and_does_not_run(browser: Chrome) -> None:
    text = opened(browser, "gaps")

    assert "</script><script>window.hacked=1</script>" in text
    assert "\\u202e" in text
    assert "neighbours, the symbol's own sessions before and after" in text
    assert run(browser, "return document.querySelector('#gaps td abbr').title").startswith("record: what was recorded")
    assert run(browser, "return window.hacked === undefined && document.querySelector('img') === null")


def test_a_click_on_a_cell_and_the_enter_key_open_the_day(browser: Chrome) -> None:
    opened(browser, "completeness")
    click = """
        const map = document.querySelector('#completeness .content').heatMap, box = map.canvas.getBoundingClientRect();
        const at = {clientX: box.left + map.margin + map.step * 1.5, clientY: box.top + 22 + 8, bubbles: true};
        map.canvas.dispatchEvent(new MouseEvent('click', at));
        return [location.hash, map.facts.symbols[map.order[0]]];
    """
    place, first = run(browser, click)
    assert place == f"#day/{first}/{WEDNESDAY}"

    opened(browser, "completeness")
    keys = """
        const box = document.querySelector('.map');
        box.focus();
        for (const key of arguments[0]) box.dispatchEvent(new KeyboardEvent('keydown', {key, bubbles: true}));
        return [location.hash, document.getElementById('map-cell').textContent];
    """
    place, spoken = run(browser, keys, ["Home", "ArrowRight", "ArrowRight", "ArrowRight", "Enter"])
    assert place == f"#day/{spoken.partition(',')[0]}/{FRIDAY}"
    assert spoken.startswith(f"{first}, {FRIDAY}: ")


def test_the_link_past_the_navigation_stays_in_the_view(browser: Chrome) -> None:
    opened(browser, "gaps")
    run(browser, "document.querySelector('.skip').click()")

    assert run(browser, "return [document.activeElement.id, location.hash]") == ["main", "#gaps"]


def test_500_symbols_and_1250_sessions_are_painted_within_three_seconds_and_60_megabytes(
    store: Pipeline, browser: Chrome, tmp_path: Path
) -> None:
    before = browser.current_url
    html = large_page(facts_in(store.report().html))
    (tmp_path / "large.html").write_text(html, "utf-8")

    browser.get((tmp_path / "large.html").as_uri())
    wait_for(lambda: run(browser, "return document.documentElement.dataset.ready"), "the large page")
    (paint,) = run(browser, "return performance.getEntriesByName('first-contentful-paint').map(e => e.startTime)")
    text = opened(browser, "completeness")
    browser.get(before)

    assert 20e6 < len(html) < 60e6
    assert paint < 3000
    assert "500 symbols" in text


@pytest.mark.parametrize("size", [NARROW, WIDE])
def test_every_session_of_a_large_store_is_drawn_also_if_several_share_a_pixel(
    browser: Chrome, size: tuple[int, int]
) -> None:
    opened(browser, "completeness")
    resize(browser, size)
    drawn = """
        const names = page.facts.verdicts, complete = names.indexOf('complete'), missing = names.indexOf('missing');
        const bad = [];
        for (const sessions of arguments[0]) {
            const facts = {...page.facts, symbols: ['A'], sessions, dates: Array(sessions).fill('2024-01-02')};
            facts.cell = (symbol, session) => session;
            const verdicts = new Uint8Array(sessions).fill(complete), last = sessions - 1;
            const map = new HeatMap(facts, verdicts, () => {});
            document.getElementById('overview').hidden = false;
            document.getElementById('overview').append(map.box);
            const seen = (session, verdict) => {
                map.draw();
                const shared = Math.max(1, Math.ceil(LEAST_WIDTH / map.step)), first = session - session % shared;
                const x = Math.round(map.margin + first * map.step);
                const [r, g, b] = map.canvas.getContext('2d').getImageData(x, HEAD + 2, 1, 1).data;
                const probe = document.createElement('p');
                probe.style.color = map.colours[verdict];
                document.body.append(probe);
                const is = getComputedStyle(probe).color === `rgb(${r}, ${g}, ${b})`;
                probe.remove();
                return is;
            };
            if (!seen(last, complete)) bad.push([sessions, 'the last is complete']);
            verdicts[last] = missing;
            if (!seen(last, missing)) bad.push([sessions, 'the last is missing']);
            verdicts[last] = complete; verdicts[sessions >> 1] = missing;
            if (!seen(sessions >> 1, missing)) bad.push([sessions, 'one in the middle is missing']);
            map.box.remove();
        }
        document.getElementById('overview').hidden = true;
        return bad;
    """
    assert run(browser, drawn, [1, 2, 250, 251, 700, 701, 1256, 1257, 1258, 1259, 5000]) == []
    resize(browser, WIDE)
    complaints(browser)  # that pixels are read, which the page does not


def test_a_symbol_day_has_its_candles_and_marks_the_minutes_without_bars(browser: Chrome) -> None:
    text = opened(browser, f"day/MSFT/{THURSDAY}")

    assert f"MSFT on {THURSDAY}" in text
    assert "10:09 to 16:00" in text  # 39 bars from 09:30 on
    assert "Restated (dividend)" in text
    found = run(browser, "const c = document.querySelector('#day .chart'); return [c.data, c.layout.shapes.length]")
    (candles, volume), marks = found
    assert (candles["type"], volume["type"], marks) == ("candlestick", "bar", 1)
    assert candles["x"][0] == f"{THURSDAY} 09:30"
    stored = minutes(THURSDAY, 39, price=252.5)
    assert candles["close"] == [row["close"] for row in stored]
    assert volume["y"] == [row["volume"] for row in stored]
    (daily,) = run(browser, "return document.querySelectorAll('#day .chart')[1].data")
    assert (daily["type"], daily["open"]) == ("candlestick", [250.0] * 4)
    opened(browser, f"day/MSFT/{FRIDAY}")
    assert run(browser, "return [...drawn].every(chart => chart.isConnected)")


def test_a_day_without_bars_says_why(browser: Chrome) -> None:
    text = opened(browser, f"day/BRK.B/{FRIDAY}")

    assert "missing" in text
    assert "window.hacked" in text
    assert "No minute bars are stored" in text


def test_dark_and_light_follow_the_system_and_the_button(browser: Chrome) -> None:
    opened(browser, "overview")
    colour = "return getComputedStyle(document.body).backgroundColor"
    light = run(browser, colour)
    feature = {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", feature)
    dark = run(browser, colour)
    run(browser, "document.getElementById('theme').click()")

    assert dark != light
    assert run(browser, colour) == light
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    run(browser, "delete document.documentElement.dataset.theme")


def test_everything_that_can_be_used_has_a_name(browser: Chrome) -> None:
    nameless = """
        const used = 'section:not([hidden]) :is(button, input, select, a, [role], canvas, [tabindex])';
        return [...document.querySelectorAll(used)]
            .filter(e => !e.closest('[aria-hidden=true], .chart, [role=presentation]') && !e.hidden)
            .filter(e => !(e.getAttribute('aria-label') || e.textContent.trim() || e.labels?.length))
            .map(e => e.outerHTML.slice(0, 100));
    """
    for view in VIEWS:
        opened(browser, view)
        assert run(browser, nameless) == [], view


def test_the_live_page_shows_what_has_changed_and_bars_that_are_in_no_file(browser: Chrome, tmp_path: Path) -> None:
    source, page = provider(), browser.current_url
    with reported_store(tmp_path, source) as store:
        server = ReportServer(LiveReport(store, None, None, None))
        try:
            browser.get(server.address)
            assert "MSFT on" in opened(browser, f"day/MSFT/{WEDNESDAY}")
            assert run(browser, "return document.querySelector('#day .chart').data[0].x.length") == 40
            assert "Not complete" in opened(browser, "overview")
            assert "3 symbols" in opened(browser, "completeness")
            run(browser, TYPE, "#completeness input", "msf")
            wait_for(
                lambda: "1 symbol" in opened(browser, "completeness").split("\n"), "the symbols that were asked for"
            )
            source.refused.clear()
            assert store.ingest().ok
            title = "return document.getElementById('overview-title').textContent"
            wait_for(lambda: run(browser, title).startswith("Complete"), "newer facts")
            assert "1 symbol" in opened(browser, "completeness").split("\n")
            opened(browser, "overview")
            assert run(browser, BAD_CARDS) == []
            next((tmp_path / "revisions").rglob("*.parquet")).unlink()
            source.bars["MSFT"][FRIDAY] = minutes(FRIDAY, 40, price=251.0)
            store.audit("MSFT", FRIDAY, FRIDAY, adopt=True)
            wait_for(lambda: run(browser, BAD_CARDS) == ["lost"], "the card of lost files")
            live = run(browser, CARDS)
            browser.refresh()
            assert run(browser, CARDS) == live
            assert complaints(browser) == []
        finally:
            browser.get(page)
            server.close()


def test_a_port_that_is_taken_is_refused_with_advice(store: Pipeline) -> None:
    live = LiveReport(store, None, None, None)
    server = ReportServer(live)
    port = int(server.address.rstrip("/").rpartition(":")[2])
    try:
        with pytest.raises(AddressInUseError, match=f"--port: .*:{port} .*; give another port"):
            ReportServer(live, port)
        with pytest.raises(ConfigurationError, match="--port"):
            ReportServer(live, 99_999)
    finally:
        server.close()


def test_the_server_answers_this_machine_only(store: Pipeline) -> None:
    server = ReportServer(LiveReport(store, None, None, None))
    try:
        with httpx.Client(base_url=server.address, trust_env=False) as client:
            page, facts = client.get("/"), client.get("/facts")
            known = {name: facts.json()[name] for name in ("tag", "made_at")}
            again = client.get("/facts", headers={"If-None-Match": known["tag"]})
            head, capital = client.head("/"), client.get("/facts", headers={"Host": "LOCALHOST:80"})
            bars = client.get("/bars", params={"symbol": "MSFT", "date": THURSDAY})
            absent = [
                client.get("/bars", params={"symbol": "BRK.B", "date": THURSDAY}).status_code,
                client.get("/bars", params={"symbol": "../x", "date": THURSDAY}).status_code,
                client.get("/state/marketpipe.sqlite").status_code,
            ]
            foreign = client.get("/", headers={"Host": "attacker.example:80"})
            malformed = answer_to(server, "GET http://[bad/ HTTP/1.0\r\nHost: localhost\r\n\r\n")
    finally:
        server.close()

    assert (page.status_code, facts.status_code, capital.status_code, bars.status_code) == (200, 200, 200, 200)
    assert again.json() == known
    assert (head.status_code, head.text, head.headers["content-length"]) == (200, "", page.headers["content-length"])
    assert malformed.startswith("HTTP/1.0 400")
    assert "connect-src &#39;self&#39;" in page.text
    assert page.headers["x-frame-options"] == "DENY"
    assert absent == [404, 400, 404]
    assert foreign.status_code == 403
    assert not any(thread.name == "marketpipe-report" for thread in threading.enumerate())


def test_a_request_that_is_half_sent_keeps_no_thread(store: Pipeline) -> None:
    server = ReportServer(LiveReport(store, None, None, None), longest_silence=0.1)
    try:
        assert answer_to(server, "GET / HTTP/1.0\r\nHost: loc") == ""
    finally:
        server.close()


def test_the_plot_of_the_tutorial_is_drawn(browser: Chrome, tmp_path: Path) -> None:
    needed = ("marketpipe init", "marketpipe ingest", "import plotly")
    with Interpreter() as interpreter:
        reader = Reader(tmp_path, interpreter)
        for block in blocks(ROOT / "docs" / "tutorial.md"):
            if block.language in ("sh", "python") and block.text.startswith(needed):
                reader.follow(block)
    complaints(browser)
    browser.get((tmp_path / "aapl.html").as_uri())
    candles = "return document.querySelectorAll('.boxlayer path.box').length"
    drawn = wait_for(lambda: run(browser, candles), "the candles of the tutorial")
    assert drawn == 2 * 92  # the slider below has them too
    assert complaints(browser) == []
