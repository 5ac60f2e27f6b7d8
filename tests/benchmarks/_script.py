"""The script a good engineer would write to embed a folder of videos; Reelvec's rival.

    python _script.py VIDEOS WEIGHTS OUT [--size 224] [--reader pyav|torchcodec]

A pool of processes decodes with PyAV (or torchcodec), one frame a second, of a longer video twelve
from its first to its last second, made small by FFmpeg's own scaler; this process encodes what
comes in batches, averages, and saves a part every 64 videos, so that the next run does what is new
or changed by name, size and time. A file that fails is printed. torch is imported where there is
something to encode, after the pool has begun. It imports nothing of Reelvec.
"""

import argparse
import multiprocessing
import os
from functools import partial
from pathlib import Path

import numpy as np

SUFFIXES = {".mp4", ".mkv", ".avi", ".webm", ".mov"}
FRAMES, BATCH, A_PART = 12, 8, 64
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def wanted_seconds(length):
    """0, 1, 2, … before `length`; of more than twelve so many, from the first to the last."""
    seconds = np.arange(0.0, length)
    if len(seconds) > FRAMES:
        seconds = seconds[np.linspace(0, len(seconds) - 1, FRAMES, dtype=int)]
    return seconds


def read_pyav(path, size):
    """Frames on screen at the wanted seconds: [T, size, size, 3] uint8, the picture's centre."""
    import av

    kept, at = [], -1
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "NONE"
        start, index = stream.start_time or 0, stream.index_entries
        scale = size / min(stream.width, stream.height)
        width, height = round(stream.width * scale), round(stream.height * scale)
        left, top = (width - size) // 2, (height - size) // 2
        frames = container.decode(stream)
        for second in wanted_seconds(container.duration / av.time_base):
            wanted = start + int((second - 1e-3) / stream.time_base)
            before = index.search_timestamp(wanted)
            if before >= 0 and index[before].timestamp > at >= 0:
                container.seek(wanted, stream=stream)
                frames = container.decode(stream)
            frame = next((one for one in frames if one.pts >= wanted), None)
            if frame is None:
                break
            at = frame.pts
            small = frame.reformat(width=width, height=height, format="rgb24", interpolation=4)
            kept.append(small.to_ndarray()[top : top + size, left : left + size])
    return np.stack(kept)


def read_torchcodec(path, size):
    """As `read_pyav`, with torchcodec, which resizes in torch."""
    import torch
    from torchcodec.decoders import VideoDecoder

    torch.set_num_threads(1)
    decoder = VideoDecoder(str(path), num_ffmpeg_threads=1)
    begin, end = decoder.metadata.begin_stream_seconds, decoder.metadata.end_stream_seconds
    frames = decoder.get_frames_played_at((begin + wanted_seconds(end - begin)).tolist()).data
    scale = size / min(frames.shape[2:])
    sides = [round(side * scale) for side in frames.shape[2:]]
    small = torch.nn.functional.interpolate(frames, size=sides, mode="bicubic", antialias=True)
    top, left = ((side - size) // 2 for side in sides)
    return small[:, :, top : top + size, left : left + size].permute(0, 2, 3, 1).numpy()


READERS = {"pyav": read_pyav, "torchcodec": read_torchcodec}


def decoded(path, *, reader, size):
    """(path, frames), or (path, why there are none)."""
    try:
        return path, READERS[reader](path, size)
    except Exception as error:
        return path, str(error)


def tower(weights):
    """CLIP's vision tower, written plainly: pixels [N, 3, S, S], normalised, to vectors [N, D]."""
    import torch
    from torch.nn import functional

    state = torch.load(weights, weights_only=True, mmap=True)
    state = {k.removeprefix("visual."): v for k, v in state.items() if k.startswith("visual.")}
    patch = state["conv1.weight"]
    layers = sum(name.endswith("mlp.c_fc.weight") for name in state)
    heads = max(1, len(patch) // 64)

    def norm(x, name):
        return functional.layer_norm(
            x, x.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"]
        )

    def linear(x, name):
        return functional.linear(x, state[f"{name}.weight"], state[f"{name}.bias"])

    def block(x, at):
        rows, tokens, width = x.shape
        inside = f"{at}.attn.in_proj_"
        y = functional.linear(
            norm(x, f"{at}.ln_1"), state[f"{inside}weight"], state[f"{inside}bias"]
        )
        q, k, v = y.view(rows, tokens, 3, heads, -1).permute(2, 0, 3, 1, 4)
        y = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2)
        x = x + linear(y.reshape(rows, tokens, width), f"{at}.attn.out_proj")
        y = linear(norm(x, f"{at}.ln_2"), f"{at}.mlp.c_fc")
        return x + linear(y * torch.sigmoid(1.702 * y), f"{at}.mlp.c_proj")

    @torch.inference_mode()
    def encode(pixels):
        x = functional.conv2d(pixels, patch, stride=patch.shape[-1]).flatten(2).transpose(1, 2)
        start = state["class_embedding"].expand(len(x), 1, -1)
        x = norm(torch.cat([start, x], dim=1) + state["positional_embedding"], "ln_pre")
        for layer in range(layers):
            x = block(x, f"transformer.resblocks.{layer}")
        return norm(x[:, 0], "ln_post") @ state["proj"]

    return encode


def encoder(weights):
    """The tower for frames [N, S, S, 3] uint8, which gives unit vectors [N, D]."""
    import torch

    tower_of = tower(weights)
    mean, std = (torch.tensor(three).view(1, 3, 1, 1) for three in (MEAN, STD))

    def encode(frames):
        pixels = torch.from_numpy(frames).permute(0, 3, 1, 2).float().div_(255).sub_(mean).div_(std)
        return torch.nn.functional.normalize(tower_of(pixels), dim=-1).numpy()

    return encode


def mark(path):
    stat = path.stat()
    return f"{path.name} {stat.st_size} {stat.st_mtime_ns}"


def known(out):
    """mark -> vector of what earlier runs saved."""
    vectors = {}
    for part in sorted(out.glob("part-*.npz")):
        with np.load(part) as saved:
            vectors |= dict(zip(saved["marks"].tolist(), saved["vectors"], strict=True))
    return vectors


def save(path, marks, vectors):
    """Whole or not at all."""
    partial_file = path.with_suffix(".tmp.npz")
    np.savez(partial_file, marks=marks, vectors=vectors)
    partial_file.rename(path)


def batches(results):
    """Lists of at most BATCH (path, frames); failures are printed."""
    batch = []
    for path, frames in results:
        if isinstance(frames, str):
            print(f"failed: {path}: {frames}")
            continue
        batch.append((path, frames))
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def embed(paths, weights, out, *, reader, size):
    """Parts of what is new."""
    work = partial(decoded, reader=reader, size=size)
    number, marks, vectors = len(list(out.glob("part-*.npz"))), [], []
    how = "spawn" if reader == "torchcodec" else "fork"
    with multiprocessing.get_context(how).Pool(os.cpu_count()) as pool:
        results = pool.imap_unordered(work, paths)
        encode = encoder(weights)
        for batch in batches(results):
            frames = encode(np.concatenate([frames for _, frames in batch]))
            ends = np.cumsum([len(frames) for _, frames in batch])[:-1]
            means = [part.mean(axis=0) for part in np.split(frames, ends)]
            vectors += [mean / np.linalg.norm(mean) for mean in means]
            marks += [mark(path) for path, _ in batch]
            if len(marks) >= A_PART:
                save(out / f"part-{number:05d}.npz", marks, vectors)
                number, marks, vectors = number + 1, [], []
    if marks:
        save(out / f"part-{number:05d}.npz", marks, vectors)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("videos", type=Path)
    parser.add_argument("weights")
    parser.add_argument("out", type=Path)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--reader", choices=READERS, default="pyav")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    paths = sorted(path for path in given.videos.iterdir() if path.suffix in SUFFIXES)
    done = known(given.out)
    due = [path for path in paths if mark(path) not in done]
    if due:
        embed(due, given.weights, given.out, reader=given.reader, size=given.size)
        done = known(given.out)
    rows = [path for path in paths if mark(path) in done]
    names = [path.name for path in rows]
    vectors = np.array([done[mark(path)] for path in rows])
    np.savez(given.out / "table.npz", names=names, vectors=vectors)


if __name__ == "__main__":
    main()
