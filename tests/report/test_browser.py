"""Pages in a real browser: nothing is loaded, its console is silent, all of it is seen on any screen and on paper."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from polycompress.report.results import write_results_report
from polycompress.report.run import write_report
from polycompress.report.whole.page import write_whole_report
from tests.report.run_examples import make_recipe_run

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (group test)")

KINDS = ("whole", "training", "results")
# For each element with text of its own: its contrast with the nearest colour behind it, as WCAG 2.1 defines it.
CONTRASTS = """() => {
  const parse = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
  const light = (rgb) => { const [r, g, b] = rgb.slice(0, 3).map((each) => { const share = each / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4; });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const found = [];
  for (const element of document.querySelectorAll('body *')) {
    const own = [...element.childNodes].some((each) => each.nodeType === 3 && each.textContent.trim());
    const place = element.getBoundingClientRect();
    if (!own || ['TITLE', 'title', 'STYLE'].includes(element.tagName) || !place.width || !place.height) continue;
    const style = getComputedStyle(element);
    let behind = element, back = [0, 0, 0, 0];
    while (behind && !(back.length === 3 || back[3] > 0)) {
      back = parse(getComputedStyle(behind).backgroundColor); behind = behind.parentElement; }
    const ink = parse(element.ownerSVGElement ? style.fill : style.color);
    const [low, high] = [light(ink), light(back)].sort((a, b) => a - b);
    found.push([(high + 0.05) / (low + 0.05), element.tagName + ': ' + element.textContent.trim().slice(0, 40)]);
  }
  return found;
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("there is no Chromium on this machine")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("pages")
    run = make_recipe_run(root / "run")
    results = root / "results"
    shutil.copytree(run / "stages" / "6-scores", results / "scores")
    shutil.copytree(run / "stages" / "7-speed", results / "speed")
    return {
        "whole": write_whole_report(run)[1],
        "training": write_report(run / "stages" / "3-student", root / "training.html")[1],
        "results": write_results_report(results)[1],
    }


def open_page(browser: Any, path: Path, **settings: Any) -> tuple[Any, list[str]]:
    """A page, and what it asked for and complained of."""
    page = browser.new_context(**settings).new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: said.append(request.url))
    page.goto(path.as_uri())
    return page, said


@pytest.mark.parametrize("kind", KINDS)
def test_it_asks_for_nothing_and_complains_of_nothing(
    browser: Any, pages: dict[str, Path], kind: str
) -> None:
    page, said = open_page(browser, pages[kind])
    assert said == [pages[kind].as_uri()]
    assert page.locator("h1").inner_text()
    page.context.close()


@pytest.mark.parametrize("width", [320, 390, 1280])
@pytest.mark.parametrize("kind", KINDS)
def test_it_is_no_wider_than_the_screen(browser: Any, pages: dict[str, Path], kind: str, width: int) -> None:
    page, _ = open_page(browser, pages[kind], viewport={"width": width, "height": 800})
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert (
        page.evaluate("Math.min(...[...document.querySelectorAll('svg')].map((each) => each.clientWidth))")
        > 200
    )
    page.context.close()


@pytest.mark.parametrize(("scheme", "paper"), [("light", "rgb(255, 255, 255)"), ("dark", "rgb(24, 26, 27)")])
@pytest.mark.parametrize("kind", KINDS)
def test_text_is_read_in_light_and_in_the_dark(
    browser: Any, pages: dict[str, Path], kind: str, scheme: str, paper: str
) -> None:
    page, _ = open_page(browser, pages[kind], color_scheme=scheme)
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == paper
    found = page.evaluate(CONTRASTS)
    assert len(found) > 40
    assert [text for ratio, text in found if ratio < 4.5] == []
    page.context.close()


@pytest.mark.parametrize("kind", KINDS)
def test_on_paper_it_is_light_and_tables_are_open(browser: Any, pages: dict[str, Path], kind: str) -> None:
    paper = {"width": 720, "height": 1000}  # about what margins leave of A4
    page, _ = open_page(browser, pages[kind], color_scheme="dark", viewport=paper)
    page.emulate_media(media="print")
    assert page.evaluate("document.documentElement.scrollWidth") <= paper["width"]
    tables = "[...document.querySelectorAll('figure table')]"
    spread = f"{tables}.map((each) => each.offsetWidth - each.parentElement.clientWidth)"
    assert max(page.evaluate(spread)) <= 1
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    heights = page.evaluate("[...document.querySelectorAll('figure table')].map((each) => each.offsetHeight)")
    assert heights and min(heights) > 20
    assert page.pdf(format="A4").startswith(b"%PDF")
    page.context.close()
