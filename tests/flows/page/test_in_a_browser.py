"""The page in Chromium, as a person uses it: a query, its clips, their neighbours, on a phone.

Playwright (the extra `browser`, which downloads no browser) drives the Chromium that is installed.
"""

import importlib.util
import re
import shutil
import signal
import subprocess
import time

import pytest

from tests.support.programs import python

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
PATIENCE = 60  # seconds: the machine may be busy

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        CHROMIUM is None or importlib.util.find_spec("playwright") is None,
        reason="needs /usr/bin/chromium (apt-get install chromium) and `pip install playwright`",
    ),
]


@pytest.fixture(scope="module")
def served(real_store):
    """The page's address; at the end Ctrl-C ends the command, at once and with its exit code."""
    command = python("-m", "reelvec.flows.cli", "serve", "--store", real_store.store, "--port", "0")
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        try:
            said = server.stderr.readline()
            yield re.search(r"http://127\.0\.0\.1:\d+/", said)[0]
            asked = time.monotonic()
            server.send_signal(signal.SIGINT)
            assert server.wait(PATIENCE) == 130
            assert time.monotonic() - asked < 10
        finally:
            server.kill()


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(browser, served):
    """Opens the page; in the end no error was in the console but those a test expects."""
    said, expected = [], []

    def visit(address="", *, width=1280, refused=0):
        expected.extend([refused])
        page = browser.new_page(viewport={"width": width, "height": 844})
        page.set_default_timeout(PATIENCE * 1000)
        page.on("console", lambda one: said.append(one.text) if one.type == "error" else None)
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(f"{served}{address}")
        return page

    yield visit
    for context in browser.contexts:
        context.close()
    assert len(said) == sum(expected) and all("status of 40" in one for one in said), said


def until(page, holds):
    """Waits; the page's policy forbids what Playwright's own way of it does (eval)."""
    end = time.monotonic() + PATIENCE
    while not page.evaluate(holds):
        assert time.monotonic() < end, holds
        time.sleep(0.05)


def cards(page):
    return [card.get_attribute("data-video") for card in page.locator("#answers .card").all()]


def searched(page, act):
    """What is shown once `act` has been answered."""
    with page.expect_response(lambda answer: "/api/search" in answer.url):
        act()
    until(page, "!document.getElementById('said').textContent.startsWith('Searching')")
    return cards(page)


def test_a_query_its_clips_and_their_neighbours(visit):
    page = visit()
    page.get_by_text("8 videos can be searched.").wait_for()
    page.get_by_label("Describe what you look for").fill("a shape")
    found = searched(page, lambda: page.keyboard.press("Enter"))
    assert len(found) == 8 and "text=a+shape" in page.url
    page.get_by_text("8 videos, best first, by cosine").wait_for()
    assert "UNTRAINED" in page.locator("#notes").inner_text()

    clip, end = page.locator("#answers video").first, time.monotonic() + PATIENCE
    while not page.evaluate("document.querySelector('#answers video').currentTime"):
        clip.hover()  # one whose codec this browser lacks becomes a strip of frames
        assert time.monotonic() < end
    clip.evaluate("clip => { clip.pause(); clip.currentTime = clip.duration / 2; }")
    until(page, "!document.querySelector('#answers video').seeking")
    assert clip.evaluate("clip => clip.currentTime / clip.duration") == pytest.approx(0.5, abs=0.05)

    first = page.locator("#answers .card").first
    like = searched(page, first.get_by_role("button", name="More like this").click)
    assert len(like) == 7 and found[0] not in like and f"like={found[0]}" in page.url
    tests = searched(page, lambda: page.get_by_label("Split").select_option("test"))
    assert tests and tests == [name for name in like if name in tests] and len(tests) < len(like)

    page.go_back()
    page.go_back()
    page.get_by_text("8 videos, best first").wait_for()
    assert cards(page) == found and page.get_by_label("Describe what").input_value() == "a shape"


def test_queries_failures_and_numbers(visit):
    page = visit()
    page.get_by_role("button", name="Queries").click()
    page.locator(".query").first.wait_for()
    everything = page.locator(".query").count()
    assert page.locator(".query .card.true").count() == everything
    page.get_by_label("Words of the query").fill("clip 5")
    until(page, f"document.querySelectorAll('.query').length < {everything}")
    assert all("clip 5" in text for text in page.locator(".query .ask p").all_inner_texts())
    page.get_by_label("Direction").select_option("v2t")
    page.get_by_text("right caption at rank").first.wait_for()
    page.get_by_role("button", name="Failures").click()
    page.get_by_text("Of 10 videos: 8 ok, 0 salvaged, 2 quarantined").wait_for()
    assert sorted(page.locator(".failure b").all_inner_texts()) == ["broken", "cut"]
    page.get_by_role("button", name="Numbers").click()
    page.get_by_text("What the tables scored").wait_for()
    assert page.get_by_role("cell", name="R@1", exact=True).count() == 1


def test_what_cannot_be_answered_is_said(visit):
    page = visit("?like=no<b>body</b>", refused=1)
    page.get_by_text("no video is called (no<b>body</b>)").wait_for()
    assert page.locator("#said.bad").count() == 1 and cards(page) == []


@pytest.mark.parametrize("view", ["text=a+shape", "view=queries", "view=failures", "view=about"])
def test_a_phone_is_wide_enough(visit, view):
    page = visit(f"?{view}", width=390)
    page.locator(".card, .query, .failure, table").first.wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    wide = page.evaluate(
        "[...document.querySelectorAll('main *')].filter(one => one.getClientRects().length"
        " && one.getBoundingClientRect().right > 391).map(one => one.outerHTML.slice(0, 90))"
    )
    assert wide == []
