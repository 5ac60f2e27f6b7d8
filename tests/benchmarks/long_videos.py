"""Long videos with default settings: seconds, memory, and what of the deadline they need.

Ten hours at one frame a second, and an hour of 1080p at 25 frames a second, are made by repeating a
short piece without encoding it again, then ingested, extracted and embedded in a program of its
own. Memory is what the program and its decoder hold at most, seen ten times a second: private and
shared memory, and resident in all, mapped files included.
"""

import json
import re
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil

from reelvec.storage.video.ffmpeg_reader import ffmpeg_program
from tests.support.programs import ROOT

CASES = {
    "10 h at 1 fps, 320x240": ("testsrc2=size=320x240:rate=1", 600, 60),
    "1 h of 1080p25": ("testsrc2=size=1920x1080:rate=25", 60, 60),
}
"""Name -> (what ffmpeg draws, seconds of it, times it is repeated)."""

PROGRAM = """
import dataclasses, json, sys, time
from reelvec.configs import PipelineConfig
from reelvec.storage.roots import open_root
from reelvec.tasks.artifacts import Session
from reelvec.tasks.corpus.ingest import read_corpus
from reelvec.tasks.decoding import files
from reelvec.tasks.frames.extract import frames_note
from reelvec.tasks.training import train
from tests.support.engine_free import run_embed, run_extract, run_ingest

config = PipelineConfig.model_validate({
    "store": sys.argv[2], "corpus": {"kind": "folder", "videos": sys.argv[1]},
    "model": {"family": "frozen", "architecture": "ViT-B/32"}, "train": {"epochs": 0},
})
seconds = {}
def timed(name, call):
    started = time.monotonic()
    result = call()
    seconds[name] = time.monotonic() - started
    return result

timed("ingest", lambda: run_ingest(config))
(video,) = read_corpus(Session(config)).videos
job = files.ClipJob.from_video(video, clip_key="")
allowed = files._deadline(config.extract, size=job.bytes, pixels=job.pixels)
_, frames = timed("extract", lambda: run_extract(config))
train.train(Session(config))
_, embedded = timed("embed", lambda: run_embed(config))
(row,) = frames.live("frames").values()
print(json.dumps({
    "status": row.status, "message": row.message, "detail": row.detail, "seconds": seconds,
    "allowed": allowed, "embedded": embedded.counts("videos").ok, "bytes": frames.bytes,
    "note": frames_note([part.receipt for part in frames.parts("frames")],
                        extract=config.extract, read=config.model.max_frames),
}))
"""


def make(path, *, drawn, seconds, times):
    """A video of `times` times `seconds` seconds, encoded once and repeated as it is."""
    piece = path.with_name("piece.mp4")
    ffmpeg = [ffmpeg_program(), "-v", "error", "-nostdin", "-y"]
    encode = ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"]
    source = ["-f", "lavfi", "-i", drawn, "-t", str(seconds)]
    subprocess.run([*ffmpeg, *source, *encode, str(piece)], check=True)
    again = ["-stream_loop", str(times - 1), "-i", str(piece), "-c", "copy"]
    subprocess.run([*ffmpeg, *again, str(path)], check=True)
    piece.unlink()


class Watch(threading.Thread):
    """The most memory that a process and its decoders were seen to hold, MiB."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.root, self.over = psutil.Process(pid), threading.Event()
        self.peaks = {"own": 0.0, "decoder": 0.0, "held": 0.0}

    def run(self):
        while not self.over.wait(0.1):
            try:
                family = [self.root, *self.root.children(recursive=True)]
            except psutil.Error:
                return
            found = [memory(process.pid) for process in family]
            resident, held = zip(*found, strict=True)
            self._note("own", resident[0])
            self._note("decoder", max(resident[1:], default=0))
            self._note("held", sum(held))

    def _note(self, name, value):
        self.peaks[name] = max(self.peaks[name], value)


def memory(pid):
    """(resident, private and shared memory) of a process, MiB."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0, 0.0
    kib = {name: int(size) for name, size in re.findall(r"^(\w+):\s+(\d+) kB", status, re.M)}
    held = kib.get("RssAnon", 0) + kib.get("RssShmem", 0)
    return kib.get("VmRSS", 0) / 1024, held / 1024


def embed(videos, store):
    """Run the program: its answer, the peaks of memory, and seconds in all."""
    child = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(videos), str(store)],
        stdout=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip
    watch = Watch(child.pid)
    watch.start()
    started = time.monotonic()
    out, _ = child.communicate()
    watch.over.set()
    return json.loads(out.splitlines()[-1]), watch.peaks, time.monotonic() - started


def main():
    """Print one row a video."""
    print("| video | frames kept | store | ingest | extract | deadline | embed | program | decoder"
          " | held by all |")  # fmt: skip
    print("| --- |" + " ---: |" * 9)
    for name, (drawn, seconds, times) in CASES.items():
        with tempfile.TemporaryDirectory() as folder:
            videos = Path(folder) / "videos"
            videos.mkdir()
            make(videos / "long.mp4", drawn=drawn, seconds=seconds, times=times)
            done, peaks, _ = embed(videos, Path(folder) / "store")
        if (done["status"], done["embedded"]) != ("ok", 1):
            raise RuntimeError(f"{name}: {done}")
        kept = json.loads(done["detail"])["frames"]
        spent = done["seconds"]
        print(
            f"| {name} | {kept:,} | {done['bytes'] / 2**30:.2f} GiB | {spent['ingest']:.0f} s"
            f" | {spent['extract']:.0f} s | {done['allowed']:.0f} s | {spent['embed']:.0f} s"
            f" | {peaks['own']:.0f} | {peaks['decoder']:.0f} | {peaks['held']:.0f} |",
            flush=True,
        )
        print(f"  {done['note']}", flush=True)


if __name__ == "__main__":
    main()
