"""Captioned moving shapes: drawn by us, encoded to real video files, any number of them.

The videos lie in the store, ``sources/synthetic/{fingerprint}/``, named by everything that
decides their bytes but not by how many there are: a larger corpus adds files to the same folder.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from reelvec.storage import layout
from reelvec.storage.corpora.contract import CorpusListing
from reelvec.storage.corpora.synthetic.drawing import draw
from reelvec.storage.corpora.synthetic.encoding import KINDS, Kind, encode
from reelvec.storage.corpora.synthetic.scenes import Scene, captions_of, scene_of, split_of
from reelvec.storage.errors import CorpusError
from reelvec.storage.records import Caption, Video

__all__ = ["RECIPE", "SyntheticOptions", "SyntheticReader"]

RECIPE = 2
"""Raised when code changes what is drawn, said or encoded."""

_MANIFEST = "manifest.json"
_TEMPORARY = ".tmp"
_STALE_SECONDS = 3600.0  # temporary files older than this belong to no running process


@dataclass(frozen=True, slots=True)
class SyntheticOptions:
    """See configs.schema.SyntheticCorpus, whose fields and meanings these are."""

    videos: int = 360
    seed: int = 0
    seconds: float = 2.0
    fps: int = 8
    size: int = 96
    captions_per_video: int = 1
    codecs: tuple[str, ...] = ("h264-mp4", "mpeg4-avi", "vp9-webm", "h264-mkv")
    motion_only: float = 0.0

    def __post_init__(self) -> None:
        unknown = [name for name in self.codecs if name not in KINDS]
        if unknown or not self.codecs:
            raise CorpusError(
                f"codecs {list(self.codecs)}: {unknown[0] if unknown else 'nothing'!r} cannot be"
                f" encoded; use some of: {', '.join(KINDS)}"
            )

    def identity(self) -> dict[str, object]:
        """What decides a file's bytes."""
        counts = ("videos", "captions_per_video")
        options = {key: value for key, value in asdict(self).items() if key not in counts}
        return {"recipe": RECIPE, **options}


class SyntheticReader:
    """Draws what is not there yet, then lists it; or only lists it."""

    def __init__(self, options: SyntheticOptions, *, store_dir: Path, draws: bool = True) -> None:
        self._options = options
        self._draws = draws
        fingerprint = layout.fingerprint(options.identity())
        self.directory = store_dir / layout.synthetic(fingerprint)

    def read(self) -> CorpusListing:
        """Generate the missing videos and list all; see ``CorpusReader.read``."""
        if self._draws:
            self.generate()
        options = self._options
        videos, captions = [], []
        scenes = [self._scene(index) for index in range(options.videos)]
        units = Counter(scene.unit for _, scene in scenes)
        for index, (split, scene) in enumerate(scenes):
            video_id = f"shapes-{index:06d}"
            videos.append(Video(video_id, str(self.directory / self._name(index)), split))
            subset = "motion" if units[scene.unit] == 2 else ""
            texts = captions_of(scene, count=options.captions_per_video)
            captions += [
                Caption(f"{video_id}#{number}", video_id, text, subset)
                for number, text in enumerate(texts)
            ]
        return CorpusListing(tuple(videos), tuple(captions))

    def generate(self) -> int:
        """Writes the videos that are not there yet; returns how many.

        A file appears under its name only when it is whole, so a killed run is simply continued;
        two at once write the same bytes. Complete folders are known by their manifest (names and
        sizes): then only sizes are looked at.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        sizes = self._manifest()
        present = {entry.name: entry.stat().st_size for entry in os.scandir(self.directory)}
        names = [self._name(index) for index in range(self._options.videos)]
        missing = [
            index
            for index, name in enumerate(names)
            if name not in present or present[name] != sizes.get(name, present[name])
        ]
        if not missing and all(name in sizes for name in names):
            return 0
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            sizes |= pool.map(self._write, missing)
        sizes |= {name: present[name] for name in names if name not in sizes}
        with _published(self.directory / _MANIFEST) as temporary:
            temporary.write_text(json.dumps(sizes, indent=0, sort_keys=True))
        self._sweep()
        return len(missing)

    def _scene(self, index: int) -> tuple[str, Scene]:
        split, number = split_of(index)
        options = self._options
        return split, scene_of(split, number, seed=options.seed, motion_only=options.motion_only)

    def _kind(self, index: int) -> Kind:
        return KINDS[self._options.codecs[index % len(self._options.codecs)]]

    def _name(self, index: int) -> str:
        return f"shapes-{index:06d}{self._kind(index).extension}"

    def _write(self, index: int) -> tuple[str, int]:
        options = self._options
        frames = max(1, round(options.seconds * options.fps))
        pixels = draw(self._scene(index)[1], frames=frames, size=options.size)
        path = self.directory / self._name(index)
        with _published(path) as temporary:
            encode(pixels, temporary, kind=self._kind(index), fps=options.fps)
        return path.name, path.stat().st_size

    def _manifest(self) -> dict[str, int]:
        """Sizes by name of the files that were once all there; empty if none says so."""
        try:
            sizes = json.loads((self.directory / _MANIFEST).read_bytes())
        except (FileNotFoundError, ValueError):
            return {}
        return dict(sizes) if isinstance(sizes, dict) else {}

    def _sweep(self) -> None:
        """Removes what killed runs left half-written."""
        for entry in os.scandir(self.directory):
            old = time.time() - entry.stat().st_mtime > _STALE_SECONDS
            if entry.name.endswith(_TEMPORARY) and old:
                Path(entry.path).unlink(missing_ok=True)


@contextmanager
def _published(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its name, durably, when the block ends well."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}{_TEMPORARY}")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
