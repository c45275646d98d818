"""The page of results: whole, safe, in need of nothing else, and drawn by a browser."""

import re
from pathlib import Path

import pytest
from msgspec.structs import replace
from playwright.async_api import Browser

from loadtest.report.page import format_page
from loadtest.report.saved import Saved
from loadtest.result import Comparison, Entry, Figure, Ratio, Result
from tests.gateway.client.conftest import browser, chromium_path
from tests.loadtest.report.parsing import Parsed
from tests.loadtest.report.samples import WORK, make_comparison, make_result

__all__ = ["browser", "chromium_path"]

# One event loop for Playwright and the tests, as the browser's fixture has it.
MODULE_LOOP = pytest.mark.asyncio(loop_scope="module")
HOSTILE = (
    "\"'></title></style></svg><script>alert(1)</script><img src=//evil.example onerror=a>&lt;"
)


def make_hostile_result() -> Result:
    return make_result(
        HOSTILE,
        scenario=HOSTILE,
        target=HOSTILE,
        started_at=HOSTILE,
        parameters={HOSTILE: HOSTILE},
        events=HOSTILE,
        figures=[Figure(HOSTILE, 5, HOSTILE)],
        faults={HOSTILE: 1},
        warnings=[HOSTILE],
    )


def make_hostile_comparison() -> Comparison:
    entries = [Entry(HOSTILE, [make_hostile_result()]), Entry("absent", [], HOSTILE)]
    ratios = [Ratio(HOSTILE, HOSTILE, 2.0, False, 1.0), Ratio(HOSTILE, None, 2.0, False, 1.0)]
    return Comparison(HOSTILE, HOSTILE, HOSTILE, entries, ratios)


PAGES: dict[str, list[Saved]] = {
    "result": [make_result()],
    "comparison": [make_comparison()],
    "several": [make_comparison(), make_comparison(), make_result(is_interrupted=True)],
    "runs": [make_result(), make_result("other", latency_us=[]), make_result()],
    "hostile": [make_hostile_comparison(), make_hostile_result(), make_hostile_result()],
    "bare": [make_result(figures=[], latency_us=[], timeline=[], faults={}, parameters={})],
    "nothing": [],
}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_well_formed_and_refers_to_nothing_outside(name: str) -> None:
    text = format_page(PAGES[name])
    assert text.startswith("<!doctype html>\n<html lang=")
    page = Parsed(text)
    assert page.find("script") == page.find("link") == page.find("img") == []
    for tag, attributes in page.elements:
        assert not {key for key in attributes if key.startswith(("on", "src", "xlink"))}, tag
        assert re.fullmatch(r"#part-\d+", attributes.get("href") or "#part-1")
    assert not re.search(r"url\(|@import|@font-face", text)


@pytest.mark.parametrize("name", PAGES)
def test_every_reference_within_a_page_leads_somewhere(name: str) -> None:
    page = Parsed(format_page(PAGES[name]))
    anchors = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(anchors) == len(set(anchors)) == len(PAGES[name])
    assert {link["href"] for link in page.find("a")} <= {f"#{anchor}" for anchor in anchors}


def test_hostile_names_are_text_on_the_page() -> None:
    page = Parsed(format_page(PAGES["hostile"]))
    assert page.texts.count(HOSTILE) > 10
    assert not any("evil" in (value or "") for _, all_ in page.elements for value in all_.values())


def test_the_title_says_what_is_on_the_page() -> None:
    titles = {name: re.search("<title>(.*?)</title>", format_page(PAGES[name])) for name in PAGES}
    assert titles["result"]
    assert titles["result"][1] == "fanout of gateway"
    assert titles["comparison"]
    assert titles["comparison"][1] == WORK
    assert titles["several"]
    assert titles["several"][1] == "3 load tests"


def test_headings_that_would_be_the_same_are_numbered() -> None:
    links = [make_result(), make_result("other"), make_result()]
    texts = Parsed(format_page(links)).texts
    names = ["fanout of gateway, run 1", "fanout of other", "fanout of gateway, run 2"]
    assert [text for text in texts if text.startswith("fanout of")] == names * 2


def test_goals_of_all_comparisons_are_counted_at_the_top() -> None:
    assert "4 of 8 goals reached" in Parsed(format_page(PAGES["several"])).texts
    no_goals = replace(make_comparison(), ratios=[Ratio("CPU", "aiohttp", 0.5, True)])
    assert "goals reached" not in format_page([no_goals])


def test_only_runs_of_the_same_scenario_are_put_side_by_side() -> None:
    assert "3 runs of fanout, side by side" in Parsed(format_page(PAGES["runs"])).texts
    others = [make_result(), make_result(scenario="idle")]
    assert "side by side" not in format_page(others)


@MODULE_LOOP
@pytest.mark.parametrize("name", ["several", "hostile"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_a_browser_draws_every_plot_without_a_complaint(
    browser: Browser,
    tmp_path: Path,
    name: str,
    scheme: str,
) -> None:
    (tmp_path / "page.html").write_text(format_page(PAGES[name]), encoding="utf-8")
    context = await browser.new_context(color_scheme=scheme)
    page = await context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda line: complaints.append(line.text))
    page.on("dialog", lambda dialog: complaints.append(dialog.message))
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    await page.goto((tmp_path / "page.html").as_uri())
    sizes = await page.evaluate(
        """() => [...document.querySelectorAll("svg .line, svg .bar")].map(shape => {
            const {width, height} = shape.getBoundingClientRect();
            const style = getComputedStyle(shape);
            const isDrawn = style.stroke !== "none" || style.fill !== "none";
            return isDrawn ? width + height : 0;
        })"""
    )
    ink = await page.evaluate("getComputedStyle(document.body).color")
    await context.close()
    assert complaints == []
    assert len(requests) == 1
    assert len(sizes) > 5
    assert min(sizes) > 0
    assert (ink == "rgb(27, 36, 43)") is (scheme == "light")
