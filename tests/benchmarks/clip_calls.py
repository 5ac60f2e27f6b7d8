"""Clips of one shape in one call against one clip a call: CPU seconds, and what is computed twice.

Models whose clips differ in length, tiny and random, over the real clips of ../shared/data/clips
where present, else encoded ones: decoded once, then encoded in both ways in turn, on this CPU and
one thread, least of the rounds. A call holds clips of one number of frames and one size, so no
token is padding but what Qwen's time stamps are evened to; `filled` is the share of clips of all
calls that stand in for missing ones, `padded` that of tokens if clips were padded to the longest of
a call, in the order in which they stand.
"""

import argparse
import dataclasses
import tempfile
import time
from pathlib import Path

import av
import numpy as np
import torch

from reelvec.configs.schema import EmbedConfig, ModelConfig
from reelvec.models.frozen.clip import FrozenOptions
from reelvec.models.frozen.kinds import adopted, build_frozen, own_input_of
from reelvec.models.sampling.rules import Timeline, choose
from reelvec.storage.frames.contract import ClipFrames, Source
from reelvec.storage.weights.pretrained import read_pretrained
from reelvec.tasks.embedding import clip_calls, encoding
from reelvec.tasks.embedding.encoder import Encoder
from tests.benchmarks.extraction import corpus
from tests.support import native_models
from tests.support.held_clips import HeldClips

ROUNDS = 3
KINDS = ("qwen3_vl", "embedding_gemma2", "naflex")


def decoded(path, rule):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        fps = float(stream.average_rate)
        count = sum(1 for packet in container.demux(stream) if packet.size)
    times = np.arange(count) / fps
    wanted = choose(rule, timeline=Timeline(pts_seconds=times, fps=fps))
    frames = {}
    with av.open(str(path)) as container:
        for n, frame in enumerate(container.decode(video=0)):
            if n in wanted:
                frames[n] = frame.to_ndarray(format="rgb24")
    index = np.array([n for n in wanted if n in frames])
    levels = np.stack([frames[n] for n in index])
    source = Source(*levels.shape[1:3], count, fps)
    return ClipFrames(str(path), levels, index / fps, index, source)


def encoder_of(kind, frames):
    with tempfile.TemporaryDirectory() as folder:
        given = {"patches": 256} if kind == "naflex" else {}
        getattr(native_models, kind)(Path(folder), **given)
        state = read_pretrained(f"hf:{folder}")
        model = build_frozen(state, options=FrozenOptions(), max_frames=frames).eval()
        model.load_state_dict(dict(adopted(state)), strict=True)
        rule = own_input_of(state["files"]).rule
    config = ModelConfig(family="frozen", options={}, max_frames=frames)
    return Encoder(model, config, torch.device("cpu")), rule


def once(encoder, source, *, shared):
    """CPU seconds, vectors, and the clips of each call."""
    keys, calls, real = list(source.clips), [], encoder.model.encode_clips
    encoder.model.encode_clips = lambda clips: calls.append(clips) or real(clips)
    usual, clip_calls.shares = clip_calls.shares, lambda _: shared
    started = time.process_time()
    found = encoding.encode_videos(encoder, source, keys, options=EmbedConfig())
    seconds = time.process_time() - started
    clip_calls.shares = usual
    del encoder.model.encode_clips
    return seconds, np.array(found["embedding"].to_pylist()), calls


def padded(encoder, source, *, a_call):
    """Share of tokens that would be padding if as many clips were padded to their longest."""
    tokens = [
        encoder.model.clip_tokens(len(clip.frames), size=clip.picture)
        for clip in source.clips.values()
    ]
    groups = [tokens[i : i + a_call] for i in range(0, len(tokens), a_call)]
    return 1 - sum(tokens) / sum(max(group) * len(group) for group in groups)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=12, help="of a clip at most")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument(
        "--budget", type=int, default=clip_calls.CLIP_TOKENS_A_CALL, help="tokens of a call"
    )
    options = parser.parse_args()
    clip_calls.CLIP_TOKENS_A_CALL = options.budget
    with tempfile.TemporaryDirectory() as folder:
        what, paths = corpus(Path(folder))
        print(f"{what}: {len(paths)} clips, at most {options.frames} frames")
        print("model               calls  alone s  shared s  filled  padded  off")
        for kind in KINDS:
            encoder, rule = encoder_of(kind, options.frames)
            rule = rule or own_rule(options.frames)
            rule = dataclasses.replace(rule, max_frames=options.frames)
            source = HeldClips((str(n), decoded(path, rule)) for n, path in enumerate(paths))
            runs = [
                [once(encoder, source, shared=s) for s in (False, True)]
                for _ in range(options.rounds)
            ]
            alone, shared = (min(run[way][0] for run in runs) for way in (0, 1))
            off = np.abs(runs[0][0][1] - runs[0][1][1]).max()
            calls = runs[0][1][2]
            filled = 1 - len(paths) / sum(map(len, calls))
            lost = padded(encoder, source, a_call=max(map(len, calls)))
            print(
                f"{kind:18} {len(calls):6} {alone:8.2f} {shared:9.2f} {filled:7.0%} {lost:7.0%}"
                f"  {off:.0e}"
            )


def own_rule(frames):
    """Of a model whose authors do not say one: a frame a second."""
    from reelvec.models.sampling.rules import Rule

    return Rule(rate=1.0, max_frames=frames)


if __name__ == "__main__":
    main()
