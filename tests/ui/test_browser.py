"""The page in a real browser."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.command_line import start
from tests.report.result_examples import make_result, write
from tests.tiny_models import TEXTS
from tests.ui.test_server import address_of
from tests.ui.tiny import HOSTILE, make_model, make_recipe_run, make_training

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

api = pytest.importorskip("playwright.sync_api", reason="the browser test needs playwright (group test)")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        CHROMIUM is None, reason="no Chromium is on the path (on Debian: apt install chromium)"
    ),
]
SECONDS = 60
NAME = HOSTILE.replace("/", "")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of a page with a run of each kind, some with names that would act as markup."""
    root = tmp_path_factory.mktemp("browsed")
    make_recipe_run(root / "runs" / "recipe", model=HOSTILE, languages=["deu-Latn", HOSTILE])
    make_training(root / "runs" / "trained")
    german = [{"code": "deu-Latn", "name": "German"}]
    make_model(root / "runs" / "a-model", "mlm", languages=german)
    make_model(root / "runs" / NAME, "mlm", source={"name": HOSTILE})
    write(root / "runs" / "scores" / "one.json", make_result("sib200", HOSTILE, {"deu-Latn": 0.5}))
    process = start("ui", root / "runs", "--port", "0", "--no-browser", cwd=root)
    try:
        yield "http://{}:{}/".format(*address_of(process))
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


class Watched:
    """A tab, and everything that it asked for or complained about."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.requests: list[str] = []
        self.complaints: list[str] = []
        page.set_default_timeout(SECONDS * 1000)
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("websocket", lambda opened: self.requests.append(opened.url))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", self._listen)

    def _listen(self, message: Any) -> None:
        if message.type == "error":
            self.complaints.append(message.text)

    def check(self, address: str) -> None:
        own = ("data:", "blob:", address, address.replace("http:", "ws:"))
        assert self.requests
        assert [each for each in self.requests if not each.startswith(own)] == []
        assert self.complaints == []
        assert self.page.evaluate("window.owned") is None


@pytest.fixture
def tab(browser: Browser, address: str) -> Iterator[Watched]:
    page = browser.new_page(viewport={"width": 1100, "height": 900})
    watched = Watched(page)
    page.goto(address)
    yield watched
    watched.check(address)
    page.close()


def open_playground(page: Page) -> None:
    page.get_by_role("tab", name="Playground").click()
    api.expect(page.get_by_test_id("summary")).to_contain_text(
        "words are cut otherwise", timeout=SECONDS * 1000
    )


def test_the_table_shows_every_run(tab: Watched) -> None:
    table = tab.page.get_by_role("table")
    api.expect(table.get_by_text("run of a recipe")).to_be_visible()
    api.expect(table.get_by_role("cell", name="trained", exact=True)).to_be_visible()
    shown = table.get_by_role("cell", name=NAME, exact=True)
    assert shown.count() == 4  # its name, what it was made from, what a recipe names, what was judged
    assert table.get_by_role("row").count() == 6
    assert tab.page.locator("img").count() == 0


def test_a_report_is_shown_in_a_frame_that_may_do_nothing(tab: Watched) -> None:
    tab.page.get_by_role("button", name="report of trained").click()
    frame = tab.page.locator("iframe")
    assert frame.get_attribute("sandbox") == ""
    api.expect(frame.content_frame.get_by_text("finished after 2 steps")).to_be_visible()


def test_hostile_names_in_a_report_do_not_act(tab: Watched) -> None:
    tab.page.get_by_role("button", name="report of scores").click()
    inside = tab.page.locator("iframe").content_frame
    api.expect(inside.get_by_text(HOSTILE).first).to_be_visible()
    assert inside.locator("img").count() == 0


def test_two_models_cut_a_text(tab: Watched) -> None:
    open_playground(tab.page)
    tab.page.get_by_label("Text", exact=True).fill(TEXTS[0])
    api.expect(tab.page.get_by_test_id("summary")).to_have_text("0 of 9 words are cut otherwise.")
    for side in ("left", "right"):
        pieces = tab.page.get_by_test_id(f"pieces-{side}").locator(".piece")
        assert pieces.count() > 9
        ids = tab.page.get_by_test_id(f"pieces-{side}").locator("small").all_inner_texts()
        assert all(each.isdigit() for each in ids)
        api.expect(tab.page.get_by_test_id(f"total-{side}")).to_contain_text("tokens")


def test_a_hostile_text_is_shown_as_text(tab: Watched) -> None:
    open_playground(tab.page)
    tab.page.get_by_label("Text", exact=True).fill(f"{HOSTILE} </div><script>window.owned=1</script>")
    api.expect(tab.page.get_by_test_id("summary")).to_have_text("0 of 4 words are cut otherwise.")
    assert "script" in tab.page.get_by_test_id("pieces-left").inner_text().replace("\n", "").lower() or (
        tab.page.get_by_test_id("pieces-left").locator(".piece").count() > 20
    )
    assert tab.page.locator("img, .piece script").count() == 0


def test_models_guess_the_gap(tab: Watched) -> None:
    open_playground(tab.page)
    tab.page.get_by_label("Text", exact=True).fill("Heute ist das ___ schön")
    api.expect(tab.page.get_by_test_id("summary")).to_contain_text("of 5 words")
    tab.page.get_by_test_id("predict").click()
    for side in ("left", "right"):
        answer = tab.page.get_by_test_id(f"answer-{side}")
        api.expect(answer).to_contain_text("Guesses for the gap", timeout=2 * SECONDS * 1000)
        api.expect(answer).to_contain_text("median")
        assert answer.inner_text().count("%") == 5


def test_nothing_runs_over_the_edge_of_a_phone(browser: Browser, address: str) -> None:
    page = browser.new_page(viewport={"width": 390, "height": 800}, color_scheme="dark")
    watched = Watched(page)
    page.goto(address)
    page.get_by_role("table").wait_for()
    open_playground(page)
    wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.evaluate(wide) == 0
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert sum(map(int, background.removeprefix("rgb(").removesuffix(")").split(","))) < 3 * 64
    watched.check(address)
    page.close()
