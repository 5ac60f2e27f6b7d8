"""Check this machine for what would fail later: versions, codecs, disk, memory, the server."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, cast

from packaging.specifiers import SpecifierSet

from reelvec.flows.servers import ServerError, check_server, server_url
from reelvec.tasks.loopback import loopback_fault

if TYPE_CHECKING:
    from reelvec.storage.places.object import ObjectRoot

__all__ = ["examine", "examine_store"]

Check = dict[str, str]

_PINS = {
    "prefect": ("==3.8.8", "the flows are tested with this version only"),
    "fastapi": (">=0.139,<0.151", "the Prefect 3.8.8 server does not start with others"),
    "prefect-dask": ("==0.3.7", "the runner is tested with this version only"),
    "sqlalchemy": (">=2.0,<2.1", "with 2.1 the Prefect 3.8.8 server never schedules a run"),
}
_GIB = 2**30


def examine(store: str) -> list[Check]:
    """Every check with its result (`ok`, `note` or `bad`), what was found, and the remedy."""
    checks = [_python(), *_versions(), _ffmpeg(), _cores(), _gpu(), _shared_memory()]
    return [*checks, examine_store(store), _loopback(), _server(), *_stray_weights()]


def _row(check: str, result: str, found: str, remedy: str = "") -> Check:
    return {"check": check, "result": result, "found": found, "remedy": remedy}


def _python() -> Check:
    found = ".".join(map(str, sys.version_info[:3]))
    fits = (3, 11) <= sys.version_info[:2] <= (3, 14)
    return _row("python", "ok" if fits else "bad", found, "" if fits else "use 3.11 to 3.14")


def _versions() -> list[Check]:
    rows = []
    for package, (wanted, why) in _PINS.items():
        found = importlib.metadata.version(package)
        fits = SpecifierSet(wanted).contains(found)
        remedy = "" if fits else f"needs {wanted}: {why}; pip install -r requirements.lock"
        rows.append(_row(package, "ok" if fits else "bad", found, remedy))
    return rows


def _ffmpeg() -> Check:
    system = shutil.which("ffmpeg")
    if system:
        return _row("ffmpeg", "ok", system)
    import imageio_ffmpeg

    return _row("ffmpeg", "ok", f"bundled: {imageio_ffmpeg.get_ffmpeg_exe()}")


def _cores() -> Check:
    return _row("cores", "ok", f"{os.cpu_count()} (one decode process each)")


def _gpu() -> Check:
    import torch

    if torch.cuda.is_available():
        return _row("gpu", "ok", torch.cuda.get_device_name(0))
    return _row(
        "gpu", "note", "none", "published-size models train on GPUs; tiny ones do not need one"
    )


def _shared_memory() -> Check:
    """Decoded frames cross processes in shared memory."""
    place = Path("/dev/shm")  # noqa: S108
    if not place.exists():
        return _row("shared memory", "note", "no /dev/shm", "decoding falls back to slower pipes")
    free = shutil.disk_usage(place).free
    if free < _GIB // 4:
        return _row("shared memory", "bad", f"{free >> 20} MiB", "docker run --shm-size=1g")
    return _row("shared memory", "ok", f"{free >> 20} MiB free")


def examine_store(store: str) -> Check:
    from reelvec.storage.errors import ReelvecError
    from reelvec.storage.places.local import LocalRoot
    from reelvec.storage.roots import open_root

    try:
        root = open_root(store)
    except ReelvecError as error:
        return _row("store", "bad", store, str(error))
    if isinstance(root, LocalRoot):
        return _folder(Path(root.uri))
    return _remote(cast("ObjectRoot", root))


def _folder(place: Path) -> Check:
    """A store in a folder: a file is written, in its scratch folder or where it would be made."""
    from reelvec.storage.layout import SCRATCH

    there = next(p for p in (place / SCRATCH, place, *place.parents) if p.exists())
    if not there.is_dir():
        return _row("store", "bad", f"{there} is a file, not a folder", "give another --store")
    refused = _write_probe(there)
    if refused:
        remedy = f"let user {os.getuid()} write there (chown, chmod), or give another --store"
        return _row("store", "bad", f"{place}: cannot write in {there} ({refused})", remedy)
    free = shutil.disk_usage(there).free
    remedy = "" if free > 5 * _GIB else "raw frames take 1.8 MB a video of 12 frames"
    return _row(
        "store", "ok" if free > 5 * _GIB else "note", f"{place}: {free >> 30} GiB free", remedy
    )


def _write_probe(folder: Path) -> str:
    """Writes a file and removes it; what the system says against it, "" where nothing."""
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".reelvec-doctor-") as file:
            file.write(bytes(4096))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _remote(root: ObjectRoot) -> Check:
    """An object store: what is listed, and what the first write of a run tries out."""
    from reelvec.storage.errors import ReelvecError

    try:
        root.list("")
        tried = root.rehearse()
    except ReelvecError as error:
        return _row("store", "bad", root.uri, str(error))
    notes = []
    if not tried.completes_once:
        notes.append("large files go in one put, of at most 5 GiB: keep shards below that")
    if tried.versioned:
        notes.append("the bucket is versioned: what gc removes is kept as old versions")
    found = f"{root.uri}, local copies near {root.local_folder}"
    return _row("store", "note" if notes else "ok", found, "; ".join(notes))


def _loopback() -> Check:
    fault = loopback_fault()
    if fault:
        remedy = "several training processes and Dask need it: ip link set lo up, or the firewall"
        return _row("loopback", "bad", f"127.0.0.1 cannot be reached: {fault}", remedy)
    return _row("loopback", "ok", "127.0.0.1")


def _server() -> Check:
    url = server_url()
    if url is None:
        return _row("prefect", "note", "no server", "set PREFECT_API_URL for schedules and the UI")
    try:
        check_server(url)
    except ServerError as error:
        found, _, remedy = str(error).partition("; ")
        return _row("prefect", "bad", found, remedy)
    return _row("prefect", "ok", url)


def _stray_weights() -> list[Check]:
    """Weights files inside the code folders, which would be shipped with the code."""
    home = Path(__file__).parents[1]
    suffixes = {".pt", ".pth", ".bin", ".safetensors"}
    strays = [
        path
        for folder in ("flows", "tasks", "storage", "models", "configs")
        for path in (home / folder).rglob("*")
        if path.suffix in suffixes
    ]
    return [_row("weights", "bad", str(path), "move it out of the code folder") for path in strays]
