"""What Prefect's UI posts from a deployment's form, and a folder of videos for its runs."""

import csv
from dataclasses import replace
from pathlib import Path

from prefect.utilities.callables import parameter_schema

from reelvec.configs.schema import SyntheticCorpus
from reelvec.flows.deployment import table
from reelvec.storage.corpora import open_corpus

SMALL_DEMO = {
    "epochs": 0,
    "max_frames": 2,
    "set": [
        "corpus.videos=4",
        "corpus.captions_per_video=1",
        "corpus.seconds=1",
        "corpus.size=64",
        "extract.sampling.count=2",
        "evaluate.bootstrap=0",
    ],
}
"""Fields of the deployment `demo` that make a run of seconds of it."""


def deployments(**more):
    """{full name: row} as `reelvec deploy` writes them; `more` are parameters by name."""
    rows = table.deployments(store="reelvec-store")
    rows = [replace(row, parameters=row.parameters | more.get(row.name, {})) for row in rows]
    return {row.full_name: row for row in rows}


def posted(flow, parameters, **changed):
    """Every field of a form: what the person changed, else the deployment's, else the default."""
    fields = parameter_schema(flow).properties
    defaults = {name: field["default"] for name, field in fields.items() if "default" in field}
    return defaults | parameters | changed


def own_videos(folder, *, videos=4, name="videos"):
    """`folder`/`name` with captions.csv, as the deployment `folder` looks for them; one is cut."""
    source = SyntheticCorpus(videos=videos, seconds=1.0, fps=8, size=64, codecs=("h264-mp4",))
    listing = open_corpus(source, store_dir=folder / f"drawn-{name}").read()
    texts = {caption.video_id: caption.text for caption in listing.captions}
    place = folder / name
    place.mkdir()
    rows = [("video_id", "path", "caption")]
    for number, video in enumerate(listing.videos):
        file = Path(video.path).rename(place / f"clip{number}.mp4")
        rows.append((file.stem, file.name, texts[video.video_id]))
    (place / "broken.mp4").write_bytes((place / "clip0.mp4").read_bytes()[:600])
    rows.append(("broken", "broken.mp4", "a file that was cut"))
    with (place / "captions.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
