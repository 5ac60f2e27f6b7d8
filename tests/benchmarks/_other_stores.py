"""Other ways to keep frames, each as a row of `frames.py`; those that are not installed are named.

Raw uint8 in all of them, as in ours, and none of them verifies what it reads.
"""

import importlib
import io
import tarfile

import numpy as np

from tests.benchmarks._installed import missing
from tests.benchmarks.frames import FRAMES, SIZE, Row

SHAPE = (FRAMES, SIZE, SIZE, 3)


def memmap_row(folder, videos):
    """One file, mapped: what NumPy gives without a store."""
    path = folder / "frames.bin"
    videos.tofile(path)
    mapped = np.memmap(path, np.uint8, mode="r", shape=videos.shape)

    def fill(chosen, out):
        for slot, v in enumerate(chosen):
            out[slot] = mapped[v]

    return Row("bare memmap", fill, videos[0].nbytes)


def lmdb_row(folder, videos):
    """A value a video, read without a copy but the one into the batch."""
    lmdb = importlib.import_module("lmdb")
    path = str(folder / "lmdb")
    environment = lmdb.open(path, map_size=2 * videos.nbytes + 2**26, readahead=False)
    with environment.begin(write=True) as writing:
        for v, video in enumerate(videos):
            writing.put(f"{v:032x}".encode(), video.tobytes())

    def fill(chosen, out):
        with environment.begin(buffers=True) as reading:
            for slot, v in enumerate(chosen):
                value = reading.get(f"{v:032x}".encode())
                out[slot] = np.frombuffer(value, np.uint8).reshape(SHAPE)

    return Row("LMDB", fill, videos[0].nbytes)


def lance_row(folder, videos):
    """A binary a video, taken by row number."""
    lance, pa = importlib.import_module("lance"), importlib.import_module("pyarrow")
    values = pa.array([video.tobytes() for video in videos], pa.large_binary())
    made = lance.write_dataset(pa.table({"frames": values}), str(folder / "lance"))

    def fill(chosen, out):
        taken = made.take(chosen, columns=["frames"]).column("frames")
        for slot, value in enumerate(taken):
            out[slot] = np.frombuffer(value.as_buffer(), np.uint8).reshape(SHAPE)

    return Row("Lance", fill, videos[0].nbytes)


def webdataset_row(folder, videos):
    """A tar file read from its start: it has no other order."""
    webdataset = importlib.import_module("webdataset")
    path = folder / "frames.tar"
    with tarfile.open(path, "w") as tar:
        for v, video in enumerate(videos):
            info = tarfile.TarInfo(f"{v:08d}.bin")
            info.size = video.nbytes
            tar.addfile(info, io.BytesIO(video.tobytes()))
    samples = iter(())

    def fill(chosen, out):
        """Whatever comes next, unless the first are asked for in order."""
        nonlocal samples
        if list(chosen) == list(range(len(chosen))):
            samples = iter(())
        for slot in range(len(chosen)):
            sample = next(samples, None)
            if sample is None:
                given = {"shardshuffle": False, "empty_check": False}
                samples = iter(webdataset.WebDataset(str(path), **given))
                sample = next(samples)
            out[slot] = np.frombuffer(sample["bin"], np.uint8).reshape(SHAPE)

    return Row("webdataset, in the tar's order alone", fill, videos[0].nbytes)


ROWS = {
    "numpy": memmap_row,
    "lmdb": lmdb_row,
    "lance": lance_row,
    "webdataset": webdataset_row,
}
"""Module -> what makes its row."""


def other_rows(folder, videos):
    """Rows of all that are installed."""
    rows = []
    for module, make in ROWS.items():
        if reason := missing(module):
            print(f"no row of {module}: {reason}")
        else:
            rows.append(make(folder, videos))
    return rows
