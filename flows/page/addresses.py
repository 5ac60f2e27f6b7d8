"""The page's addresses: documents, media, metrics, and a few files that never change."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import FileResponse, Response

import reelvec
from reelvec.errors import ReelvecError, RequestError
from reelvec.flows.metrics import StoreCollector, metrics_text
from reelvec.flows.page import documents
from reelvec.flows.page.comparing import beside, compared, curves
from reelvec.flows.page.filtering import Attributes, columns, only_fitting
from reelvec.flows.page.guard import App, Guard, is_loopback
from reelvec.flows.page.mapping import points, videos_at
from reelvec.flows.page.media import clip_of, decoded_jpeg, is_stored, strip_of
from reelvec.flows.page.open_runs import OpenRuns
from reelvec.models.errors import ModelError
from reelvec.models.spans import Span
from reelvec.storage.errors import MissingArtifactError
from reelvec.tasks.scoring.split_rows import MissingColumnError

__all__ = ["site"]

_FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    **{
        f"/{name}.js": (f"{name}.js", "text/javascript; charset=utf-8")
        for name in ("page", "base", "queries", "numbers", "filters", "map")
    },
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
_LONGEST = 2000

Words = Annotated[str, Query(max_length=_LONGEST)]
Name = Annotated[str | None, Query(max_length=_LONGEST)]
Seconds = Annotated[float, Query(ge=0, allow_inf_nan=False)]


class Json(Response):
    """A document."""

    media_type = "application/json"

    def render(self, content: Mapping[str, Any]) -> bytes:
        return json.dumps(content, allow_nan=False).encode()


def site(
    store: reelvec.Store,
    *,
    host: str = "127.0.0.1",
    token: str = "",
    attributes: Path | None = None,
) -> App:
    """The page of a store, as an ASGI application.

    Args:
        store: what is looked at; each request sees it as it is then.
        host: what it is bound to.
        token: that a visitor must bring; "": none is asked for.
        attributes: what the caller knows of the videos, a Parquet file, to filter by.

    Raises:
        RequestError: it is no such table.
        CorpusError: it cannot be read.
    """
    known = Attributes(attributes)
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    runs = OpenRuns(store)
    _add_files(app)
    _add_documents(app, runs)
    _add_searches(app, runs, known)
    _add_queries(app, runs)
    _add_map(app, runs, known)
    _add_media(app, runs)
    _add_metrics(app, StoreCollector(store.uri))
    _add_errors(app)
    hosts = {"localhost", "127.0.0.1", "::1", host} if is_loopback(host) else set()
    return Guard(app, hosts=frozenset(hosts), token=token)


def _add_files(app: FastAPI) -> None:
    folder = resources.files("reelvec.flows.page") / "static"
    for address, (name, kind) in _FILES.items():
        answer = _constant((folder / name).read_bytes(), kind)
        app.add_api_route(address, answer, methods=["GET", "HEAD"], response_class=Response)


def _constant(data: bytes, kind: str) -> Any:
    def answer() -> Response:
        return Response(data, headers={"content-type": kind})

    return answer


def _add_documents(app: FastAPI, runs: OpenRuns) -> None:
    @app.get("/api/store")
    def store() -> Response:
        return Json(documents.about_store(runs.store))

    @app.get("/api/run")
    def run(run: Name = None) -> Response:
        opened = runs.get(run)
        with runs.lock:
            return Json(documents.about_run(opened))

    @app.get("/api/failures")
    def failures(run: Name = None) -> Response:
        opened = runs.get(run)
        with runs.lock:
            return Json(documents.failed(opened))


def _add_searches(app: FastAPI, runs: OpenRuns, attributes: Attributes) -> None:
    @app.get("/api/columns")
    def filterable(run: Name = None) -> Response:
        opened = runs.get(run)
        with runs.lock:
            return Json(columns(opened, attributes))

    @app.get("/api/search")
    def search(
        run: Name = None,
        text: Name = None,
        like: Name = None,
        split: Name = None,
        where: Name = None,
        top: Annotated[int, Query(ge=1, le=100)] = 24,
    ) -> Response:
        if (text is None) == (like is None):
            raise RequestError("give text or like, one of the two")
        opened = runs.get(run)
        ask = opened.search
        with runs.lock:
            only = only_fitting(opened, attributes, where=where)
            if like is not None:
                found = ask.like(like, top=top, split=split or None, only=only)
            else:
                found = ask.text(text or "", top=top, split=split or None, only=only)
            return Json(documents.answers(opened, found))


def _add_queries(app: FastAPI, runs: OpenRuns) -> None:
    @app.get("/api/compare")
    def compare(against: Words, run: Name = None) -> Response:
        opened, other = runs.get(run), runs.get(against)
        with runs.lock:
            return Json(compared(opened, other))

    @app.get("/api/curves")
    def curves_of(run: Name = None) -> Response:
        opened = runs.get(run)
        with runs.lock:
            return Json(curves(opened))

    @app.get("/api/queries")
    def queries(
        run: Name = None,
        direction: Words = "t2v",
        order: Words = "worst",
        contains: Words = "",
        offset: Annotated[int, Query(ge=0, le=10_000_000)] = 0,
        limit: Annotated[int, Query(ge=1, le=100)] = 20,
        against: Name = None,
    ) -> Response:
        documents.checked("direction", direction, allowed=("t2v", "v2t"))
        changed = ("gained", "lost") if against else ()
        documents.checked("order", order, allowed=("best", "worst", *changed))
        opened = runs.get(run)
        other = runs.get(against) if against else None
        with runs.lock:
            if other is not None:
                table = beside(opened, other, direction)
            else:
                table = documents.ranked(opened, direction)
            found = documents.queries(
                opened,
                table,
                order=order,
                contains=contains.strip(),
                offset=offset,
                limit=limit,
            )
        return Json(found)


def _add_map(app: FastAPI, runs: OpenRuns, attributes: Attributes) -> None:
    @app.get("/api/map")
    def points_of(run: Name = None, split: Name = None, where: Name = None) -> Response:
        opened = runs.get(run)
        with runs.lock:
            only = only_fitting(opened, attributes, where=where)
            return Json(points(opened, split=split or None, only=only))

    @app.get("/api/videos")
    def videos(
        row: Annotated[list[int], Query(max_length=100)], run: Name = None, state: Name = None
    ) -> Response:
        opened = runs.get(run, state=state)
        with runs.lock:
            return Json(videos_at(opened, row))


def _add_media(app: FastAPI, runs: OpenRuns) -> None:
    @app.api_route("/media/clip", methods=["GET", "HEAD"])
    def clip(id: Words, run: Name = None, state: Name = None) -> Response:
        opened = runs.get(run, state=state)
        with runs.lock:
            found = clip_of(opened, id)
        return FileResponse(found.path, media_type=found.kind, stat_result=found.on_disk)

    @app.get("/media/strip")
    def strip(
        id: Words,
        run: Name = None,
        state: Name = None,
        count: Annotated[int, Query(ge=1, le=5)] = 5,
        start: Seconds = 0.0,
        end: Seconds | None = None,
    ) -> Response:
        opened = runs.get(run, state=state)
        span = None if end is None else Span(start, end)
        with runs.lock:
            jpeg = strip_of(opened, id, count=count, span=span)
        return Response(jpeg, media_type="image/jpeg")

    @app.get("/media/failed")
    def failed_picture(id: Words, run: Name = None, state: Name = None) -> Response:
        opened = runs.get(run, state=state)
        with runs.lock:
            jpeg = strip_of(opened, id, count=1) if is_stored(opened, id) else None
        if jpeg is None:
            with runs.decoding:  # the others are answered meanwhile
                jpeg = decoded_jpeg(opened, id)
        return Response(jpeg, media_type="image/jpeg")


def _add_metrics(app: FastAPI, collector: StoreCollector) -> None:
    """What Prometheus scrapes."""

    @app.get("/metrics")
    def metrics() -> Response:
        return Response(metrics_text(collector), headers={"content-type": CONTENT_TYPE_LATEST})


def _add_errors(app: FastAPI) -> None:
    """Whatever a request cannot have is said in words, never with a traceback."""

    @app.exception_handler(RequestValidationError)
    def wrong(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        return Json({"error": f"{first['loc'][-1]}: {first['msg']}"}, status_code=400)

    @app.exception_handler(404)
    def nowhere(_: Request, __: Exception) -> Response:
        return Json({"error": "there is nothing at this address"}, status_code=404)

    @app.exception_handler(MissingArtifactError)
    def missing(_: Request, error: Exception) -> Response:
        return Json({"error": str(error)}, status_code=404)

    def refused(_: Request, error: Exception) -> Response:
        is_theirs = isinstance(error, RequestError | MissingColumnError)
        return Json({"error": str(error)}, status_code=400 if is_theirs else 503)

    app.add_exception_handler(ReelvecError, refused)
    app.add_exception_handler(ModelError, refused)
