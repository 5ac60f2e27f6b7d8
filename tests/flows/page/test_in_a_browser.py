"""The page in Chromium, as a person uses it: a query, its clips, their neighbours, on a phone.

No page may write an error to the console, but the browser's own line for an answer of 4xx.
"""

import re
import shutil
import signal
import socket
import subprocess
import threading
import time

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import reelvec
from reelvec.storage.commits.artifact import Artifact
from reelvec.storage.roots import open_root
from reelvec.tasks.artifacts import Session
from reelvec.tasks.reports.report import report
from reelvec.tasks.reports.sources import report_sources
from tests.support.chromium import IN_CHROMIUM, chromium
from tests.support.programs import heeding_ctrl_c, python

PATIENCE = 180  # seconds: the machine may be busy
WIDE = """[...document.querySelectorAll('body *')].filter(one => one.getClientRects().length
    && one.getBoundingClientRect().right > 391).map(one => one.outerHTML.slice(0, 90))"""

pytestmark = [
    pytest.mark.slow,
    IN_CHROMIUM,
]


@pytest.fixture(scope="module")
def copy(real_store, tmp_path_factory):
    """A store to change, whose videos are the shared ones, and what is known of them."""
    folder = tmp_path_factory.mktemp("served")
    shutil.copytree(real_store.store, folder / "store")
    ids = [f"clip{n}" for n in range(8)]
    languages = ["en" if n % 2 else "de" for n in range(8)]
    pq.write_table(pa.table({"video_id": ids, "lang": languages}), folder / "mine.parquet")
    return folder


@pytest.fixture(scope="module")
def served(copy):
    """The page's address; at the end Ctrl-C ends the command, with its exit code."""
    options = ["--store", str(copy / "store"), "--attributes", str(copy / "mine.parquet")]
    command = python("-m", "reelvec.flows.cli", "serve", *options, "--port", "0")
    with subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heeding_ctrl_c,  # noqa: PLW1509
    ) as server:
        try:
            said = server.stderr.readline()
            yield re.search(r"http://127\.0\.0\.1:\d+/", said)[0]
            server.send_signal(signal.SIGINT)
            assert server.wait(PATIENCE) == 130
        finally:
            server.kill()


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture
def visit(browser, served):
    """Opens the page; in the end no error was in the console but those a test expects."""
    said, expected = [], []

    def visit(address="", *, width=1280, dark=False, refused=0):
        expected.extend([refused])
        colours = "dark" if dark else "light"
        page = browser.new_page(viewport={"width": width, "height": 844}, color_scheme=colours)
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
    until(page, "document.querySelectorAll('#answers .card').length === 8")
    assert page.locator("#examples button").count() == 3
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


def test_filters_stand_in_the_address(visit):
    page = visit("?text=a+shape")
    page.get_by_text("8 videos, best first").wait_for()
    page.get_by_role("button", name="Filter", exact=True).click()
    page.get_by_label("Column").select_option("lang")
    found = searched(page, lambda: page.get_by_label("Value").select_option("en"))
    assert sorted(found) == ["clip1", "clip3", "clip5", "clip7"] and "where=" in page.url
    page.reload()
    page.get_by_text("4 videos, best first").wait_for()
    assert cards(page) == found
    everything = searched(page, lambda: page.get_by_label("Remove this filter").click())
    assert len(everything) == 8 and "where=" not in page.url


def test_a_loop_on_the_map_is_looked_at_and_played(visit):
    page = visit("?view=map")
    page.get_by_text("8 videos; near ones are alike").wait_for()
    box = page.locator("#plane").bounding_box()
    left, top, right, bottom = 3, 3, box["width"] - 3, box["height"] - 3
    page.mouse.move(box["x"] + left, box["y"] + top)
    page.mouse.down()
    for x, y in ((right, top), (right, bottom), (left, bottom), (left, top)):
        page.mouse.move(box["x"] + x, box["y"] + y, steps=3)
    page.mouse.up()
    page.get_by_text("8 videos inside.").wait_for()
    page.locator("#inside .card").nth(7).wait_for()
    names = [one.get_attribute("data-video") for one in page.locator("#inside .card").all()]
    assert sorted(names) == [f"clip{n}" for n in range(8)]
    page.get_by_role("button", name="Play all").click()
    until(page, "[...document.querySelectorAll('#inside video')].some(one => one.currentTime > 0)")
    page.keyboard.press("Escape")
    page.get_by_text("8 videos; near ones are alike").wait_for()
    assert page.locator("#inside .card").count() == 0
    page.get_by_label("Split").select_option("test")
    page.get_by_text("4 videos of 8; near ones are alike").wait_for()
    page.get_by_role("button", name="Filter", exact=True).click()
    page.get_by_label("Column").select_option("lang")
    page.get_by_label("Value").select_option("en")
    page.get_by_text("2 videos of 8; near ones are alike").wait_for()
    assert "where=" in page.url and "split=test" in page.url
    page.locator("#plane").focus()
    page.keyboard.press("ArrowRight")  # to a point, and its neighbours are looked at
    page.keyboard.press("Enter")
    page.locator("#inside .card").first.wait_for()
    assert page.locator("#inside .card").first.get_attribute("data-video") in ("clip5", "clip7")
    page.locator("#inside .card").first.get_by_role("button", name="More like this").click()
    page.get_by_text("1 video, best first").wait_for()


def test_two_runs_are_compared(visit):
    page = visit("?view=about")
    page.get_by_text("What the tables scored").wait_for()
    earlier = page.locator("#against option").nth(2).get_attribute("value")
    page.get_by_label("Compare").select_option(earlier)
    page.get_by_text("of the queries both have").first.wait_for()
    assert page.get_by_role("cell", name="R@1 t2v").count() == 1
    page.get_by_role("link", name="Look at them").first.click()
    page.locator(".query").first.wait_for()
    assert f"against={earlier}" in page.url
    assert page.locator(".query .pill", has_text="in demo, as of").count() > 0
    page.get_by_label("Order").select_option("gained")
    page.get_by_text(re.compile("rose most first|split test rose")).wait_for()


class Held:
    """Questions of the page to its server, kept from it until they are let go."""

    def __init__(self, page, *names):
        self.page, self.routes = page, []
        page.route(re.compile(f"/api/({'|'.join(names)})"), self._keep)

    def _keep(self, route):
        self.routes.append(route)

    def await_those(self, name, *, many):
        end = time.monotonic() + PATIENCE
        while sum(f"/api/{name}" in route.request.url for route in self.routes) < many:
            assert time.monotonic() < end, [route.request.url for route in self.routes]
            self.page.wait_for_timeout(20)

    def let_go(self, place, *, name):
        """The one of that name in that place is answered, and the page has seen it."""
        named = [route for route in self.routes if f"/api/{name}" in route.request.url]
        self.routes.remove(named[place])
        with self.page.expect_event("requestfinished", lambda one: one == named[place].request):
            named[place].continue_()
        self.page.wait_for_timeout(100)


def test_going_back_again_before_an_answer(visit):
    page = visit("?text=a+shape")
    page.get_by_text("8 videos, best first").wait_for()
    searched(page, lambda: page.get_by_label("Split").select_option("test"))
    searched(page, lambda: page.get_by_label("Split").select_option("train"))
    held = Held(page, "run", "columns")
    page.evaluate("history.back()")
    held.await_those("run", many=1)
    held.let_go(0, name="run")
    held.await_those("columns", many=1)
    page.evaluate("history.back()")
    held.await_those("run", many=1)
    held.let_go(0, name="columns")
    held.let_go(0, name="run")
    held.await_those("columns", many=1)
    held.let_go(0, name="columns")
    page.get_by_text("8 videos, best first").wait_for()
    assert page.get_by_label("Split").input_value() == "" and len(cards(page)) == 8


def test_the_run_chosen_last_is_shown_whichever_answers_last(visit):
    page = visit("?view=about")
    page.get_by_text("What the tables scored").wait_for()
    now = page.locator("#about-said").inner_text()
    runs = [one.get_attribute("value") for one in page.get_by_label("Run").locator("option").all()]
    held = Held(page, "run")
    page.get_by_label("Run").select_option(runs[1])
    page.get_by_label("Run").select_option(runs[0])
    held.await_those("run", many=2)
    held.let_go(1, name="run")
    held.let_go(0, name="run")
    page.get_by_text("What the tables scored").wait_for()
    assert page.locator("#about-said").inner_text() == now
    assert page.get_by_label("Run").input_value() == runs[0]


def test_filters_that_could_not_be_read_are_said_no_longer_than_that(visit):
    page = visit("?text=a+shape", refused=1)
    page.get_by_text("8 videos, best first").wait_for()
    runs = [one.get_attribute("value") for one in page.get_by_label("Run").locator("option").all()]
    refusal = {"status": 400, "json": {"error": "no columns can be read"}}
    page.route(re.compile("/api/columns"), lambda route: route.fulfill(**refusal), times=1)
    page.get_by_label("Run").select_option(runs[1])
    page.get_by_text("No columns can be read").wait_for()
    page.get_by_label("Run").select_option(runs[0])
    until(page, "document.getElementById('filters-said').textContent === ''")


def test_what_is_asked_twice_is_listed_once(visit):
    page = visit("?view=failures")
    page.get_by_text("0 pending").wait_for()
    listed = page.locator("#failed > *").count()
    held = Held(page, "failures", "videos")
    for _ in range(2):
        page.get_by_role("button", name="Failures").click()
    held.await_those("failures", many=2)
    for _ in range(2):
        held.let_go(0, name="failures")
    assert page.locator("#failed > *").count() == listed > 0

    page.get_by_role("button", name="Map").click()
    page.get_by_text("8 videos; near ones are alike").wait_for()
    page.locator("#plane").focus()
    for key in ("ArrowRight", "Enter", "Enter"):
        page.keyboard.press(key)
    held.await_those("videos", many=2)
    for _ in range(2):
        held.let_go(0, name="videos")
    names = [one.get_attribute("data-video") for one in page.locator("#inside .card").all()]
    assert names and len(names) == len(set(names))


def test_the_report_lists_every_query_and_fits_a_phone(browser, real_store, copy):
    run = reelvec.open(copy / "store").run()
    page_file = report_of(real_store.config.model_copy(update={"store": str(copy / "store")}))
    said = []
    page = browser.new_page(viewport={"width": 390, "height": 844}, color_scheme="dark")
    page.on("console", lambda one: said.append(one.text) if one.type == "error" else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(page_file.as_uri())
    page.locator("#list .query").first.wait_for()
    total = len(run.table("ranks"))
    assert page.locator("#said").inner_text() == f"{total} of {total}"
    page.locator("#words").fill("clip 5")
    until(page, "document.getElementById('said').textContent.startsWith('2 of')")
    page.locator("#words").fill("")
    page.locator("#direction").select_option("v2t")
    until(page, "document.getElementById('said').textContent.startsWith('4 of 4')")
    with page.expect_download() as saved:
        page.locator("#save").click()
    assert saved.value.path().read_text().count("\n") == 9, "two captions in a cell, and a header"
    wide = page.evaluate(WIDE)
    assert page.evaluate("document.documentElement.scrollWidth") == 390 and wide == []
    page.close()
    assert said == []


def report_of(config):
    """The page of the last run's evaluation, drawn beside it."""
    session = Session(config)
    return report(session, report_sources(session)).path


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
    until(page, "document.querySelector('.failure img')?.naturalWidth > 0")
    page.get_by_role("button", name="Numbers").click()
    page.get_by_text("What the tables scored").wait_for()
    assert page.get_by_role("cell", name="R@1, %", exact=True).count() == 1
    page.locator(".chart svg polyline").first.wait_for()


def test_what_cannot_be_answered_is_said(visit):
    page = visit("?like=no<b>body</b>", refused=1)
    page.get_by_text("no video is called (no<b>body</b>)").wait_for()
    assert page.locator("#said.bad").count() == 1 and cards(page) == []
    page.get_by_label("Describe what").fill("a shape")
    assert len(searched(page, lambda: page.keyboard.press("Enter"))) == 8


def test_no_filter_that_fits_is_said_and_can_be_taken_back(visit):
    page = visit(
        "?text=a+shape&where=[[%22duration%22,%22%3E%22,1e9],[%22no%22,%22=%22,1]]", refused=1
    )
    page.get_by_text("No video fits the filters (duration > 1000000000)").wait_for()
    assert cards(page) == [] and page.locator(".filter").count() == 1, "an unknown one is left out"
    assert len(searched(page, lambda: page.get_by_label("Remove this filter").click())) == 8


def test_everything_is_reached_by_keys(visit):
    page = visit("?view=about")
    page.get_by_text("What the tables scored").wait_for()
    page.keyboard.press("/")
    page.keyboard.type("a shape")
    found = searched(page, lambda: page.keyboard.press("Enter"))
    assert len(found) == 8 and "text=a+shape" in page.url
    focused = "document.activeElement.getAttribute('aria-label') || document.activeElement.id"
    while not page.evaluate(focused).startswith("More like this"):
        page.keyboard.press("Tab")
    named = page.evaluate(focused).removeprefix("More like this: ")
    like = searched(page, lambda: page.keyboard.press("Enter"))
    assert named not in like and f"like={named}" in page.url
    assert page.evaluate(focused) == "like-end"
    again = searched(page, lambda: page.keyboard.press("Escape"))
    assert again == found and page.evaluate(focused).startswith("Describe what")


VIEWS = {
    "": "#answers .card",
    "text=a+shape&where=[[%22lang%22,%22=%22,%22en%22]]": "#answers .card",
    "like=clip2": "#answers .card",
    "view=map": "#map-key .dot",
    "view=queries&against=demo": ".query",
    "view=failures": ".failure",
    "view=about&against=demo": ".chart svg",
}


def test_a_phone_is_wide_enough(visit):
    page = visit(width=390, dark=True)
    for view, shows in VIEWS.items():
        page.goto(f"{page.url.partition('?')[0]}?{view}")
        page.locator(shows).first.wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") == 390, view
        assert page.evaluate(WIDE) == [], view


def test_a_moment_is_marked_in_its_file(film_store, browser):
    import uvicorn

    from reelvec.flows.page.addresses import site

    config = uvicorn.Config(
        site(reelvec.open(film_store.store)), log_level="error", lifespan="off", ws="none"
    )
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        page = browser.new_page()
        page.set_default_timeout(PATIENCE * 1000)
        page.goto(f"http://127.0.0.1:{listener.getsockname()[1]}/?text=a+red+circle")
        page.get_by_text("moments, best first").wait_for()
        for card in page.locator("#answers .card").all():
            line = card.locator(".time-line")
            start, end, whole = map(float, re.findall(r"[\d.]+", line.get_attribute("aria-label")))
            full, part = line.bounding_box(), line.locator(".part").bounding_box()
            assert (part["x"] - full["x"]) / full["width"] == pytest.approx(start / whole, abs=0.02)
            assert part["width"] / full["width"] == pytest.approx((end - start) / whole, abs=0.02)
            assert f"{start} s – {end} s" in card.locator(".where").inner_text()
        page.close()
        server.should_exit = True
        thread.join(PATIENCE)


def test_a_store_embedded_anew_is_followed_at_the_next_request(visit, copy):
    page = visit("?text=a+shape")
    page.get_by_text("8 videos, best first").wait_for()
    before = cards(page)
    shown = """[...document.querySelectorAll('[data-video=clip6] :is(img, video)')]
        .map(one => one.poster || one.src)"""
    (picture,) = page.evaluate(shown)
    run = reelvec.open(copy / "store").run()
    root = open_root(copy / "store")
    artifact = Artifact.find(root, kind="embeddings", fingerprint=run.videos.identity)
    artifact.publish(supersede={"videos": ["clip6"]})
    after = searched(page, lambda: page.locator("#ask button.main").click())
    assert after == [name for name in before if name != "clip6"]
    assert page.request.get(picture).status == 200, "an answer's pictures are of its snapshots"
    page.get_by_role("button", name="Map").click()
    page.get_by_text("7 videos; near ones are alike").wait_for()
