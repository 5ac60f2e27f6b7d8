"""The page's documents and media: what is answered, to whom, and what is never opened."""

import json
import os
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from starlette.testclient import TestClient

import reelvec
from reelvec.errors import ReelvecError, RequestError
from reelvec.flows.page.addresses import site
from reelvec.flows.page.guard import check_token
from reelvec.storage.commits.artifact import Artifact
from reelvec.storage.roots import open_root

LOCAL = "http://127.0.0.1:8765"
TOKEN = "a-token-of-twenty-four-l"


def visitor(store, *, base=LOCAL, **options):
    app = site(reelvec.open(store), **options)
    return TestClient(app, base_url=base, follow_redirects=False, raise_server_exceptions=False)


@pytest.fixture(scope="module")
def page(real_store):
    return visitor(real_store.store)


@pytest.fixture
def copy(real_store, tmp_path):
    """A store to change, whose videos are the shared ones."""
    shutil.copytree(real_store.store, tmp_path / "store")
    return tmp_path / "store"


# what is answered


def test_search_is_the_api_s(page, real_store):
    found = page.get("/api/search", params={"text": "a shape", "top": 3}).json()
    expected = reelvec.open(real_store.store).run().answers("a shape", top=3)
    assert [(r["video_id"], r["score"], r["path"]) for r in found["rows"]] == [
        (row.video_id, row.score, row.path) for row in expected.rows
    ]
    assert all(row["pictured"] and not row["moment"] for row in found["rows"])
    assert (found["unit"], found["notes"]) == (expected.unit, list(expected.notes))
    assert [row["rank"] for row in found["rows"]] == [1, 2, 3]


def test_more_like_this_and_splits(page):
    found = page.get("/api/search", params={"like": "clip5"}).json()["rows"]
    assert "clip5" not in [row["video_id"] for row in found] and len(found) == 7
    tests = page.get("/api/search", params={"like": "clip5", "split": "test"}).json()["rows"]
    assert tests and {row["split"] for row in tests} == {"test"}
    assert [r["video_id"] for r in tests] == [r["video_id"] for r in found if r["split"] == "test"]


def test_a_run_says_what_it_has(page):
    store = page.get("/api/store").json()
    assert [run["now"] for run in store["runs"]] == [True, False]
    for run in store["runs"]:
        about = page.get("/api/run", params={"run": run["run"]}).json()
        assert about["scored"] and about["similar"] and {"test", "train"} <= set(about["splits"])
        assert 2 <= len(set(about["examples"])) <= 3 and about["moments"] == []
        assert about["counts"]["planned"] == 10 and about["metrics"] and about["coverage"]


@pytest.mark.parametrize("direction", ["t2v", "v2t"])
def test_queries_of_both_directions(page, direction):
    def rows(**wanted):
        return page.get("/api/queries", params={"direction": direction, **wanted}).json()

    worst, best = rows(order="worst"), rows(order="best")
    assert worst["unit"] == "logit"
    ranks = [row["rank"] for row in worst["rows"]]
    assert ranks == sorted(ranks, reverse=True) and len(ranks) == worst["total"] > 1
    assert [row["rank"] for row in best["rows"]] == sorted(ranks)
    named = rows(contains="CLIP 5")
    assert 0 < named["total"] < worst["total"]
    assert all("clip 5" in row["text"] for row in named["rows"])
    assert rows(contains=".*")["total"] == 0, "letters, no pattern"
    second = rows(order="worst", offset=1, limit=1)["rows"]
    assert second == [worst["rows"][1]]
    assert all(row["video_id"] in row["videos"] for row in worst["rows"])


@pytest.mark.parametrize("direction", ["t2v", "v2t"])
def test_queries_beside_another_run_s(page, direction):
    earlier = page.get("/api/store").json()["runs"][1]["run"]

    def rows(run=None, **wanted):
        asked = {"direction": direction, "limit": 100, **wanted} | ({"run": run} if run else {})
        return page.get("/api/queries", params=asked).json()["rows"]

    key = "caption_id" if direction == "t2v" else "video_id"
    before = {row[key]: row["rank"] for row in rows(run=earlier)}
    beside = {row[key]: row for row in rows(against=earlier)}
    assert {name: row["before"] for name, row in beside.items()} == {
        name: before.get(name) for name in beside
    }
    assert 0 < len(before) < len(beside), "the second run has more captions"
    rises = {
        name: row["before"] - row["rank"]
        for name, row in beside.items()
        if row["before"] is not None
    }
    for order, sign in (("gained", 1), ("lost", -1)):
        found = rows(against=earlier, order=order)
        expected = sorted((n for n in rises if sign * rises[n] > 0), key=lambda n: -sign * rises[n])
        assert [rises[row[key]] for row in found] == [rises[name] for name in expected]
    refused = page.get("/api/queries", params={"order": "gained"})
    assert refused.status_code == 400 and "order (gained)" in refused.text


def test_two_runs_are_compared_over_the_queries_both_have(page):
    earlier = page.get("/api/store").json()["runs"][1]["run"]
    found = page.get("/api/compare", params={"against": earlier}).json()
    rows = {(row["direction"], row["metric"]): row for row in found["metrics"]}
    assert set(rows) == {(d, f"R@{k}") for d in ("t2v", "v2t") for k in (1, 5, 10)}
    for direction, changes in found["changes"].items():
        assert sum(changes.values()) == rows[direction, "R@1"]["count"]
    itself = page.get("/api/compare", params={"against": "demo"}).json()
    assert {(row["new"] - row["old"], row["low"], row["high"]) for row in itself["metrics"]} == {
        (0.0, 0.0, 0.0)
    }
    assert page.get("/api/compare", params={"against": "nope"}).status_code == 404


def test_curves_are_those_of_the_ranks(page):
    found = page.get("/api/curves").json()
    ranks = [row["rank"] for row in page.get("/api/queries").json()["rows"]]
    points = dict(map(tuple, found["recall"]["t2v"]))
    assert points[1] == pytest.approx(100 * sum(rank <= 1 for rank in ranks) / len(ranks), abs=0.01)
    assert list(points.values()) == sorted(points.values())
    assert found["loss"] == found["selection"] == []  # nothing was trained


@pytest.fixture(scope="module")
def knowing(real_store, tmp_path_factory):
    """A page that knows a language of each video, and the file it is in."""
    path = tmp_path_factory.mktemp("mine") / "mine.parquet"
    write_languages(path, {f"clip{n}": "en" if n % 2 else "de" for n in range(8)})
    return visitor(real_store.store, attributes=path), path


def write_languages(path, languages):
    pq.write_table(pa.table({"video_id": list(languages), "lang": list(languages.values())}), path)


def test_filters_are_columns_of_the_corpus_and_of_the_caller(knowing):
    page, _ = knowing
    columns = {row["name"]: row for row in page.get("/api/columns").json()["columns"]}
    assert columns["lang"]["values"] == ["de", "en"] and columns["duration"]["kind"] == "number"

    def found(*where, **asked):
        answer = page.get("/api/search", params={"where": json.dumps(where), **asked})
        return {row["video_id"] for row in answer.json()["rows"]}

    assert found(["lang", "=", "en"], text="a shape") == {"clip1", "clip3", "clip5", "clip7"}
    assert found(["lang", "=", "en"], like="clip1") == {"clip3", "clip5", "clip7"}
    mixed = found(["lang", "=", "en"], ["split", "=", "test"], text="a shape")
    assert mixed == {"clip5", "clip7"}


def test_the_caller_s_file_is_followed_when_it_is_replaced(real_store, tmp_path):
    path, where = tmp_path / "mine.parquet", json.dumps([["lang", "=", "en"]])
    write_languages(path, {"clip1": "en"})
    page = visitor(real_store.store, attributes=path)
    asked = {"text": "a", "where": where}
    assert [row["video_id"] for row in page.get("/api/search", params=asked).json()["rows"]] == [
        "clip1"
    ]
    write_languages(path, {"clip2": "en", "clip3": "de"})
    assert [row["video_id"] for row in page.get("/api/search", params=asked).json()["rows"]] == [
        "clip2"
    ]
    path.write_text("no table")
    assert page.get("/api/search", params=asked).status_code in (400, 503)
    with pytest.raises(ReelvecError):
        site(reelvec.open(real_store.store), attributes=path)


@pytest.mark.parametrize(
    "where",
    ["lang = 'en'", "{}", "[[]]", '[["lang"]]', '[["lang","=",{}]]', '["x"]', "[1]", '[[1,2,3]]',
     '[["lang","=","en\' OR 1=1 --"]]', '[["read_text(\'/etc/passwd\')","=","x"]]',
     "[" * 500, '[["lang","=",1e999]]', '[["duration",">",NaN]]',
     "[" + ",".join(['["lang","=","en"]'] * 13) + "]"],
)  # fmt: skip
def test_no_filter_is_more_than_a_condition(knowing, where):
    answer = knowing[0].get("/api/search", params={"text": "a", "where": where})
    assert answer.status_code == 400 and answer.json()["error"]


def test_the_map_has_a_point_a_video(page):
    found = page.get("/api/map").json()
    assert len(found["rows"]) == len(found["x"]) == len(found["y"]) == found["videos"] == 8
    assert min(found["x"]) == min(found["y"]) == 0
    assert max(*found["x"], *found["y"]) == 10_000
    splits = [found["groups"][number] for number in found["group"]]
    asked = {"row": found["rows"], "state": found["state"]}
    shown = page.get("/api/videos", params=asked).json()["rows"]
    assert [row["split"] for row in shown] == splits
    assert sorted(row["video_id"] for row in shown) == [f"clip{n}" for n in range(8)]
    for row in ("8", "-1", "x"):
        assert page.get("/api/videos", params={"row": row}).status_code == 400


def test_filters_act_on_the_map_and_move_no_video(knowing):
    page, _ = knowing
    whole = page.get("/api/map").json()
    at = dict(zip(whole["rows"], zip(whole["x"], whole["y"], strict=True), strict=True))

    def some(**asked):
        found = page.get("/api/map", params=asked).json()
        places = dict(zip(found["rows"], zip(found["x"], found["y"], strict=True), strict=True))
        assert places == {row: at[row] for row in places} and found["side"] == whole["side"]
        assert (found["videos"], found["of"]) == (len(places), 8)
        shown = page.get("/api/videos", params={"row": found["rows"], "state": found["state"]})
        return {row["video_id"] for row in shown.json()["rows"]}

    english = json.dumps([["lang", "=", "en"]])
    assert some(where=english) == {"clip1", "clip3", "clip5", "clip7"}
    assert some(split="test", where=english) == {"clip5", "clip7"}
    for asked in ({"where": json.dumps([["lang", "=", "fr"]])}, {"split": "nope"}, {"where": "x"}):
        refused = page.get("/api/map", params=asked)
        assert refused.status_code == 400 and refused.json()["error"]


def test_a_moment_has_its_file_s_length_and_its_own_pictures(film_store):
    page = visitor(film_store.store)
    about = page.get("/api/run").json()
    assert about["examples"] and "R1@0.5" in {row["metric"] for row in about["moments"]}
    rows = page.get("/api/search", params={"text": "a red circle", "top": 100}).json()["rows"]
    assert all(row["moment"] and row["pictured"] for row in rows)
    assert all(0 <= row["start"] < row["end"] <= row["whole"] + 0.5 for row in rows)
    film = [row for row in rows if row["video_id"] == "film-000000"]
    first, last = min(film, key=lambda row: row["start"]), max(film, key=lambda row: row["start"])

    def strip(**asked):
        return page.get("/media/strip", params={"id": "film-000000", "count": 1, **asked})

    pictures = [strip(start=row["start"], end=row["end"]).content for row in (first, last)]
    assert pictures[0] != pictures[1], "each shows its own second"
    beyond = strip(start=10_000, end=10_001)
    assert beyond.content == strip().content, "no frame is there: one of the whole"
    for wrong in ({"start": "nan", "end": 1}, {"start": -1, "end": 1}, {"start": 0, "end": "inf"}):
        assert strip(**wrong).status_code == 400


def test_what_can_still_be_seen_of_a_failure_is_shown(page):
    seen = page.get("/media/failed?id=cut")
    assert seen.status_code == 200 and seen.content[:2] == b"\xff\xd8"
    for name, words in (("broken", "nothing of (broken)"), ("../cut.mp4", "no video is called")):
        answer = page.get("/media/failed", params={"id": name})
        assert answer.status_code == 404 and words in answer.json()["error"]


def test_failures_have_their_reasons(page):
    found = page.get("/api/failures").json()
    rows = {row["video_id"]: row for row in found["rows"]}
    assert rows["broken"]["status"] == "quarantined" and rows["broken"]["reason"]
    assert {name: row["seen"] for name, row in rows.items()} == {"broken": False, "cut": True}
    assert found["counts"]["planned"] == 10


@pytest.mark.parametrize(
    ("address", "status", "words"),
    [
        ("/api/search?text=", 400, "the text is empty"),
        ("/api/search", 400, "give text or like"),
        ("/api/search?text=a&like=b", 400, "give text or like"),
        ("/api/search?text=a&top=0", 400, "top"),
        ("/api/search?text=a&top=x", 400, "top"),
        ("/api/search?text=a&split=nope", 400, "no video is of the split (nope)"),
        ("/api/search?text=caf%ed%b3%a9", 200, ""),
        ("/api/search?like=nope", 400, "no video is called (nope)"),
        ("/api/search?like=broken", 400, "no vector of the video (broken)"),
        ("/api/search?text=a&run=nope", 404, "no run is called (nope)"),
        (f"/api/search?text={'a' * 2001}", 400, "text"),
        ("/api/queries?order=sideways", 400, "order (sideways)"),
        ("/api/queries?direction=up", 400, "direction (up)"),
        ("/nowhere", 404, "nothing at this address"),
        ("/media/strip?id=broken", 404, "no frames of (broken)"),
        ("/media/strip", 400, "id"),
    ],
)
def test_what_cannot_be_had_is_said_in_words(page, address, status, words):
    answer = page.get(address)
    assert (answer.status_code, words in answer.json().get("error", "")) == (status, True)


# media


def test_a_clip_is_sent_in_ranges(page):
    found = page.get("/api/search", params={"text": "a shape"}).json()["rows"][0]
    whole = Path(found["path"]).read_bytes()
    address = f"/media/clip?id={found['video_id']}"
    assert found["plays"]
    answer = page.get(address)
    assert (answer.status_code, answer.content) == (200, whole)
    assert answer.headers["accept-ranges"] == "bytes"
    for asked, start, end in [("5-9", 5, 10), ("100-", 100, len(whole)), ("-7", -7, len(whole))]:
        part = page.get(address, headers={"range": f"bytes={asked}"})
        assert (part.status_code, part.content) == (206, whole[start:end])
        assert part.headers["content-range"].endswith(f"/{len(whole)}")
    beyond = page.get(address, headers={"range": f"bytes={len(whole)}-"})
    assert beyond.status_code == 416
    assert page.head(address).headers["content-length"] == str(len(whole))


def test_frames_are_a_picture(page):
    answer = page.get("/media/strip?id=clip1&count=2")
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.content[:2] == b"\xff\xd8"


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../../../etc/passwd", "file:///etc/passwd", "clip0.mp4", "", "\0", "."]
)
@pytest.mark.parametrize("address", ["/media/clip", "/media/strip"])
def test_a_name_is_an_id_and_never_a_path(page, address, name, monkeypatch):
    opened, stat = [], Path.stat

    def looked_at(path, **how):
        opened.append(path)
        return stat(path, **how)

    monkeypatch.setattr(Path, "stat", looked_at)
    answer = page.get(address, params={"id": name})
    assert answer.status_code == 404 and "no video is called" in answer.json()["error"]
    assert [path for path in opened if "passwd" in str(path) or path.name == "clip0.mp4"] == []


@pytest.mark.parametrize(
    "address",
    ["/../pyproject.toml", "/static/../guard.py", "/page.css/../../guard.py", "/%2e%2e/guard.py"],
)
def test_only_the_page_s_own_files_are_there(page, address):
    assert page.get(address).status_code == 404


def test_a_file_that_is_another_now_is_not_sent(copy, real_store, tmp_path):
    page = visitor(copy)
    (source,) = {
        Path(row["path"])
        for row in page.get("/api/search", params={"text": "a shape"}).json()["rows"]
        if row["video_id"] == "clip3"
    }
    kept = source.with_suffix(".kept")
    source.rename(kept)
    try:
        for change in (
            lambda: None,
            lambda: source.symlink_to("/etc/passwd"),
            lambda: os.mkfifo(source),
            lambda: source.write_bytes(b"x" * kept.stat().st_size),
            source.mkdir,
        ):
            change()
            answer = page.get("/media/clip?id=clip3")
            assert answer.status_code == 404 and "the file of (clip3) is" in answer.text
            rows = page.get("/api/search", params={"like": "clip2"}).json()["rows"]
            assert [r["plays"] for r in rows if r["video_id"] == "clip3"] == [False]
            assert page.get("/media/strip?id=clip3").status_code == 200
            if source.is_dir() and not source.is_symlink():
                source.rmdir()
            else:
                source.unlink(missing_ok=True)
    finally:
        kept.rename(source)


def test_a_table_that_is_replaced_is_followed(copy):
    page = visitor(copy)
    before = page.get("/api/search", params={"like": "clip5"}).json()
    run = reelvec.open(copy).run()
    artifact = Artifact.find(open_root(copy), kind="embeddings", fingerprint=run.videos.identity)
    artifact.publish(supersede={"videos": ["clip6"]})
    after = page.get("/api/search", params={"like": "clip5"}).json()
    names = [[row["video_id"] for row in found["rows"]] for found in (before, after)]
    assert names[1] == [name for name in names[0] if name != "clip6"] != names[0]
    assert before["state"] != after["state"] == page.get("/api/run").json()["state"]
    old = page.get("/media/strip", params={"id": "clip6", "state": before["state"]})
    assert old.status_code == 200, "what belongs to an answer is of its snapshots"
    assert page.get("/media/strip", params={"id": "clip6", "state": "gone"}).status_code == 200


# who is answered


def test_every_answer_says_what_a_browser_may_do(page):
    for address in (
        "/",
        "/page.js",
        "/api/store",
        "/media/strip?id=clip1",
        "/nowhere",
        "/media/clip",
    ):
        headers = page.get(address).headers
        assert headers["content-security-policy"].startswith(
            "default-src 'none'; script-src 'self'"
        )
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert "access-control-allow-origin" not in headers


def test_the_page_names_nothing_beyond_itself(page):
    scripts = [f"/{name}.js" for name in ("page", "base", "queries", "numbers", "filters", "map")]
    for address in ("/", "/page.css", *scripts):
        answer = page.get(address)
        assert answer.status_code == 200
        text = answer.text.replace("http://www.w3.org/2000/svg", "")  # a name, never asked
        assert "http:" not in text and "https:" not in text and "innerHTML" not in text
    assert "style=" not in page.get("/").text and "onclick" not in page.get("/").text


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_nothing_can_be_written(page, method):
    for address in ("/", "/api/search?text=a", "/media/clip?id=clip1"):
        assert page.request(method, address).status_code == 405


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8765", "127.0.0.1.evil.example", ""]
)
def test_another_name_for_this_address_is_refused(page, host):
    for address in ("/", "/api/store", "/media/clip?id=clip1"):
        answer = page.get(address, headers={"host": host})
        assert answer.status_code == 421 and "clip" not in answer.text


@pytest.mark.parametrize("host", ["localhost", "localhost:1", "127.0.0.1:99", "[::1]:8765"])
def test_names_of_loopback_are_answered(page, host):
    assert page.get("/api/store", headers={"host": host}).status_code == 200


def test_another_site_s_page_may_link_here_and_not_ask(page):
    asked = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "video"}
    assert page.get("/media/clip?id=clip1", headers=asked).status_code == 403
    linked = asked | {"sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    assert page.get("/", headers=linked).status_code == 200
    framed = linked | {"sec-fetch-dest": "iframe"}
    assert page.get("/", headers=framed).status_code == 403


def test_beyond_loopback_a_token_opens_the_page(real_store):
    page = visitor(real_store.store, base="http://10.1.2.3:8765", host="0.0.0.0", token=TOKEN)
    for headers in ({}, {"authorization": "Bearer x"}, {"cookie": "reelvec-token=x"}):
        for address in ("/", "/page.js", "/api/store", "/media/clip?id=clip1", "/?token=x"):
            answer = page.get(address, headers=headers)
            assert answer.status_code == 401 and TOKEN not in answer.text
    bearer = {"authorization": f"Bearer {TOKEN}"}
    assert page.get("/api/store", headers=bearer).status_code == 200
    assert page.get(f"/api/store?token={TOKEN}").status_code == 401, "by / alone"
    welcome = page.get(f"/?token={TOKEN}&run=demo")
    assert (welcome.status_code, welcome.headers["location"]) == (303, "/?run=demo")
    cookie = welcome.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie
    assert page.get("/api/store").status_code == 200  # the client keeps the cookie


@pytest.mark.parametrize(
    ("host", "token", "words"),
    [
        ("0.0.0.0", "", "needs a token"),
        ("::", "", "needs a token"),
        ("192.168.1.2", "", "needs a token"),
        ("example.org", "", "needs a token"),
        ("127.0.0.1", "short", "16 ASCII"),
        ("0.0.0.0", "é" * 20, "16 ASCII"),
    ],
)
def test_without_a_good_token_it_is_not_bound(host, token, words):
    with pytest.raises(RequestError, match=words):
        check_token(token, host=host)


def test_on_loopback_no_token_is_needed():
    for host in ("127.0.0.1", "127.8.8.8", "::1", "localhost"):
        check_token("", host=host)
    check_token(TOKEN, host="0.0.0.0")
