"""A small store that looks lived in: two runs of one name, growth, a changed caption, failures."""

from dataclasses import dataclass

from reelvec.configs import PipelineConfig
from tests.drills.bitflips import draw, run_again


@dataclass(frozen=True)
class RealStore:
    """Where it is, and its last configuration."""

    store: str
    config: PipelineConfig


def captions_file(folder, ids, *, changed=()):
    """Two captions a video; the first four videos train."""
    lines = ["video_id,path,caption,split"]
    for number, video in enumerate(ids):
        split = "train" if number < 4 else "test"
        for n in range(2):
            text = f"{'another' if video in changed else 'a'} shape, take {n} of clip {number}"
            lines.append(f'{video},{video}.mp4,"{text}",{split}')
    (folder / "captions.csv").write_text("\n".join(lines))


def make_real_store(folder):
    """Ten videos, of which two fail: six have captions in the first run, all in the second."""
    drawn, write = draw(folder, videos=8)
    write(drawn)
    files = sorted((folder / "videos").iterdir())
    for number, file in enumerate(files):
        file.rename(file.with_name(f"clip{number}.mp4"))
    (folder / "videos" / "broken.mp4").write_text("no video at all")
    whole = (folder / "videos" / "clip2.mp4").read_bytes()  # its head stays readable
    (folder / "videos" / "cut.mp4").write_bytes(whole[: len(whole) * 8 // 10])
    config = PipelineConfig.model_validate(
        {
            "name": "demo",
            "store": str(folder / "reelvec-store"),
            "corpus": {
                "kind": "folder",
                "videos": str(folder / "videos"),
                "captions": str(folder / "captions.csv"),
            },
            "extract": {"size": 64, "shard_videos": 3, "sampling": {"rate": 4.0}},
            "model": {"family": "frozen", "max_frames": 3},
            "train": {"epochs": 0},
            "embed": {"shard_rows": 3},
            "evaluate": {"bootstrap": 0},
        }
    )
    captions_file(folder, ["clip0", "clip1", "clip2", "clip3", "clip4", "broken"])
    run_again(config)
    captions_file(folder, [*(f"clip{n}" for n in range(8)), "broken", "cut"], changed=["clip1"])
    run_again(config)
    return RealStore(config.store, config)
