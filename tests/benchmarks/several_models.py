"""Several models of one command against each model's own pipeline, one after another.

Three tiny random models of `transformers` (CLIP: crop 224; SigLIP: squash 224; VideoPrism: eight
frames squashed to 288) over the real clips of ../shared/data/clips where present, else encoded
ones. Ours is what `reelvec embed VIDEOS --model A --model B --model C` does in a new store: files
hashed, probed, decoded in the sandbox, tables written. Theirs is what a model's page says: frames
by PyAV, the checkpoint's image processor (VideoPrism's needs torchvision: its arithmetic), the
model; nothing is kept. CPU seconds of this process and of the
workers it started, one thread, least of the rounds; the last column is what the forward passes take
of theirs, from pixels that are there. The first model of ours pays the decode.
"""

import argparse
import tempfile
import time
from functools import partial
from pathlib import Path

import av
import numpy as np
import psutil
import torch

from reelvec.configs.loader import validate
from reelvec.flows.launch import launch
from reelvec.tasks.weights.choice import choose_several
from tests.benchmarks.extraction import corpus
from tests.support.native_models import byte_tokenizer, drawn_wide

ROUNDS = 3
STAGES = ("ingest", "extract", "train", "embed")
TOWER = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}
TEXT = TOWER | {"vocab_size": 300, "max_position_embeddings": 32}
VISION = TOWER | {"image_size": 224, "patch_size": 32}
FRAMES, MOST = 8, 12
"""Of a video: VideoPrism's, and of the others at most."""


def clip():
    import transformers

    config = transformers.CLIPConfig(text_config=TEXT, vision_config=VISION, projection_dim=32)
    return transformers.CLIPModel(config), transformers.CLIPImageProcessorPil()


def siglip():
    import transformers

    text = TEXT | {"projection_size": TOWER["hidden_size"]}
    config = transformers.SiglipConfig(text_config=text, vision_config=VISION)
    return transformers.SiglipModel(config), transformers.SiglipImageProcessorPil()


def videoprism():
    import transformers

    both = {name: TOWER[name] for name in TOWER if name != "num_hidden_layers"}
    layers = ("num_spatial_layers", "num_temporal_layers", "num_auxiliary_layers")
    vision = both | dict.fromkeys(layers, 1) | {"image_size": 288, "num_frames": FRAMES}
    vision["tubelet_size"] = [1, 36, 36]
    config = transformers.VideoPrismConfig(text_config=TEXT, vision_config=vision)
    return transformers.VideoPrismClipModel(config), None


MODELS = {"CLIP": clip, "SigLIP": siglip, "VideoPrism": videoprism}


def saved(name, folder):
    """A model in a folder, as its authors publish it; and the pixels it is given of a file."""
    torch.manual_seed(0)
    model, images = MODELS[name]()
    drawn_wide(model).save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    if images is None:
        return model, squashed
    images.save_pretrained(folder)
    return model, partial(processed, images)


def processed(images, path):
    """A frame a second through the image processor, [F, 3, S, S]."""
    frames = loaded(path, lambda n, fps: np.arange(0, n, fps).astype(int))
    if len(frames) > MOST:
        frames = frames[np.linspace(0, len(frames) - 1, MOST, dtype=int)]
    return images(list(frames), return_tensors="pt")["pixel_values"]


def squashed(path):
    """Eight frames of the whole file, [1, 8, 3, 288, 288]."""
    frames = loaded(path, lambda n, fps: np.arange(FRAMES) * n // FRAMES)
    pixels = torch.from_numpy(frames).permute(0, 3, 1, 2).contiguous()
    pixels = torch.nn.functional.interpolate(
        pixels, size=(288, 288), mode="bicubic", antialias=True
    )
    return (pixels.float() * (1 / 255))[None]


def loaded(path, picks):
    """Frames [T, H, W, 3] of a file, as `transformers.video_utils.read_video_pyav` takes them.

    That one needs the number of frames in the header, which Matroska has not.
    """
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        rate = stream.average_rate
        count = stream.frames or round(container.duration / av.time_base * rate)
        wanted = set(picks(count, float(rate)).tolist())
        found = []
        for index, frame in enumerate(container.decode(video=0)):
            if index in wanted:
                found.append(frame.to_ndarray(format="rgb24"))
            if index >= max(wanted):
                break
    return np.stack(found)


@torch.inference_mode()
def vector(model, pixels):
    """Unit numbers of a video."""
    if pixels.ndim == 5:
        found = model.get_video_features(pixel_values_videos=pixels).pooler_output[0]
    else:
        found = model.get_image_features(pixel_values=pixels).pooler_output
    return torch.nn.functional.normalize(found, dim=-1).mean(dim=0)


def spent():
    """CPU seconds of this process, of the workers it started, and of those that have ended."""
    me = psutil.Process()
    return sum(sum(one.cpu_times()[:4]) for one in (me, *me.children(recursive=True)))


def measured(work):
    """CPU seconds of a call, and what it gave."""
    before = spent()
    found = work()
    return spent() - before, found


def ours(videos, folders, store):
    """CPU seconds of each model of one command."""
    names = [f"hf:{folder}" for folder in folders]
    choosing, chosen = measured(lambda: choose_several(names, store=str(store)))
    seconds = []
    for number, one in enumerate(chosen):
        document = one.document({"kind": "folder", "videos": str(videos)}, name=str(number))
        config = validate(document | {"store": str(store), "workers": 1}, source="a benchmark")
        seconds.append(measured(partial(launch, config, stages=STAGES))[0] + choosing / len(chosen))
    return seconds


def theirs(paths, made):
    """CPU seconds of each model's own pipeline, and of its forward passes."""
    whole, alone = [], []
    for model, pixels in made:
        whole.append(measured(lambda: [vector(model, pixels(path)) for path in paths])[0])  # noqa: B023
        shown = [pixels(path) for path in paths]
        alone.append(measured(lambda: [vector(model, one) for one in shown])[0])  # noqa: B023
    return whole, alone


def main(rounds=ROUNDS):
    torch.set_num_threads(1)
    found = []
    with tempfile.TemporaryDirectory(prefix="reelvec-models-") as temporary:
        folder = Path(temporary)
        (folder / "videos").mkdir()
        what, paths = corpus(folder / "videos")
        folders = [folder / name for name in MODELS]
        made = [saved(name, folder / name) for name in MODELS]
        ours(paths[0].parent, folders, folder / "warm")  # imports are paid once a process, not here
        started = time.perf_counter()
        for number in range(rounds):
            if number and time.perf_counter() - started > 120:
                break
            found.append(
                (ours(paths[0].parent, folders, folder / f"store-{number}"), *theirs(paths, made))
            )
    mine, other, alone = np.min(np.array(found), axis=0)
    print(f"{len(paths)} {what}, {len(found)} rounds, CPU seconds of one thread")
    print("| model | ours | its own pipeline | times ours | its forward passes alone |")
    print("| --- | --- | --- | --- | --- |")
    for row, name in enumerate([*MODELS, "the second on"]):
        at = slice(1, None) if row == len(MODELS) else slice(row, row + 1)
        a, b, c = (float(column[at].sum()) for column in (mine, other, alone))
        print(f"| {name} | {a:.2f} | {b:.2f} | {b / a:.1f} | {c:.2f} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    main(parser.parse_args().rounds)
