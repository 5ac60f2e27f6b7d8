"""clip-video-encode's own loop over a folder of videos, with the tower of our script in its place.

    python _clip_video_encode.py VIDEOS WEIGHTS OUT [--size 224]

It drives the packages clip-video-encode 1.3.0 and video2numpy 2.3.0 (MIT both) and copies nothing
of them: their function reads with OpenCV in a process a core, every frame of a file decoded and one
in 25 kept, encodes 200 videos at once through a DataLoader of 12 processes, and writes the vectors
of each video's frames. They ask for torchvision and open_clip, which are not here: what that
function uses of them, four transforms and a model with `encode_image`, is written below. It begins
anew at every run. A file that does not open leaves its last 200 videos unwritten, or waits for
ever, so the broken one is left out. Frames lie in a quarter of a GB, not four. It imports nothing
of Reelvec.
"""

import argparse
import os
import sys
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from types import ModuleType

import _script
import numpy as np
import torch
from PIL import Image

GIGABYTES, EVERY = 0.25, 25


class Compose:
    """One transform after another, as torchvision's."""

    def __init__(self, transforms):
        self.transforms = transforms

    def __call__(self, x):
        for transform in self.transforms:
            x = transform(x)
        return x


class Normalize:
    """Channel by channel, as torchvision's."""

    def __init__(self, mean, std):
        self.mean, self.std = (torch.tensor(three).view(3, 1, 1) for three in (mean, std))

    def __call__(self, x):
        return (x - self.mean) / self.std


def to_tensor(picture):
    """[3, H, W] in 0 to 1."""
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 255


class Model:
    """What open_clip gives."""

    def __init__(self, weights):
        self.encode_image = _script.tower(weights)


def stand_ins(weights):
    """torchvision's and open_clip's modules, as far as they are used."""
    transforms, vision, clip = map(
        ModuleType, ("torchvision.transforms", "torchvision", "open_clip")
    )
    transforms.ToPILImage = lambda: Image.fromarray
    transforms.Compose, transforms.Normalize = Compose, Normalize
    transforms.ToTensor = lambda: to_tensor
    clip.create_model_and_transforms = lambda *_, **__: (Model(weights), None, None)
    sys.modules |= {module.__name__: module for module in (transforms, vision, clip)}


def forgets(reader, note):
    """That reader, whose shared memory does not outlive a killed run and the next one's start."""

    class Reader(reader):
        def __init__(self, *args, **kwargs):
            if note.exists():
                left = SharedMemory(note.read_text())
                left.close()
                left.unlink()
            super().__init__(*args, **kwargs)
            note.write_text(self.shared_queue.frame_mem.name)

        def release_memory(self):
            super().release_memory()
            note.unlink()

    return Reader


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("videos", type=Path)
    parser.add_argument("weights")
    parser.add_argument("out", type=Path)
    parser.add_argument("--size", type=int, default=224)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    stand_ins(given.weights)
    from clip_video_encode import clip_video_encode

    theirs = sys.modules["clip_video_encode.clip_video_encode"]
    theirs.IMG_SIZE = given.size
    theirs.FrameReader = forgets(theirs.FrameReader, given.out / "memory")
    paths = sorted(path for path in given.videos.iterdir() if path.suffix in _script.SUFFIXES)
    clip_video_encode(
        [str(path) for path in paths if path.stem != "broken"],
        str(given.out),
        take_every_nth=EVERY,
        frame_workers=os.cpu_count(),
        frame_memory_size=GIGABYTES,
        use_dst_name=True,
    )


if __name__ == "__main__":
    main()
