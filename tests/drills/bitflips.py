"""Single flipped bits over every kind of file of a store: all found, and repaired.

    python -m tests.drills.bitflips --flips 200 --repairs 20

Builds a small store (two runs with growth, an evaluation, gc's traces, a pin), flips one random bit
at a time, and asks `verify`. For some of the flips, one a file kind at least, the store is repaired
and the pipeline run again; every artifact must end with its original checksum. Prints a table;
exits 1 where anything is missed.
"""

import argparse
import random
import re
import shutil
import sys
import tempfile
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

from reelvec.configs import PipelineConfig
from reelvec.configs.schema import SyntheticCorpus
from reelvec.storage import layout
from reelvec.storage.commits.artifact import Artifact
from reelvec.storage.corpora import open_corpus
from reelvec.storage.roots import open_root
from reelvec.storage.sealing import seal
from reelvec.storage.upkeep.garbage import GcOptions, gc
from reelvec.storage.upkeep.verify import verify_store
from reelvec.tasks.artifacts import Session
from reelvec.tasks.embedding.sources import sources_of
from reelvec.tasks.runs.recording import last_config, record_run
from reelvec.tasks.scoring.evaluate import evaluate
from reelvec.tasks.upkeep.repair import repair
from tests.support.engine_free import run_all, stage_receipts

COMPARED = ("corpus", "frames", "checkpoint", "embeddings")
APART = (layout.SCRATCH, layout.WRITERS, layout.REPORTS, ".damaged", "logs")
"""What no run reads again."""


def config_of(folder, store):
    return PipelineConfig.model_validate(
        {
            "name": "bitflips",
            "store": str(store),
            "corpus": {
                "kind": "folder",
                "videos": str(folder / "videos"),
                "captions": str(folder / "captions.csv"),
            },
            "extract": {"size": 64, "shard_videos": 3, "sampling": {"rate": 2.0}},
            "model": {"family": "frozen", "max_frames": 2},
            "train": {"epochs": 0},
            "embed": {"shard_rows": 3},
            "evaluate": {"bootstrap": 0},
        }
    )


def run_again(config):
    """The pipeline without an engine, and its record."""
    started = datetime.now(UTC)
    run_all(config)
    session = Session(config)
    sources = sources_of(session)
    evaluate(session, sources.embeddings, corpus=sources.corpus, options=config.evaluate)
    made = {a.kind: a.latest() for a in Artifact.all(open_root(config.store))}
    record_run(session, stage_receipts(made), started=started)


def draw(folder, *, videos):
    """Small real clips in `folder`/videos, and a function that writes captions of some of them."""
    source = SyntheticCorpus(videos=videos, seconds=1.0, fps=4, size=64)
    listing = open_corpus(source, store_dir=folder / "drawn").read()
    (folder / "videos").mkdir()
    texts = {Path(video.path).stem: "" for video in listing.videos}
    texts |= {caption.video_id: caption.text for caption in listing.captions}

    def write_captions(paths):
        lines = ["video_id,path,caption"]
        for path in map(Path, paths):
            lines.append(f'{path.stem},{path.name},"{texts[path.stem]}"')
            if not (folder / "videos" / path.name).exists():
                shutil.copy(path, folder / "videos")
        (folder / "captions.csv").write_text("\n".join(lines))

    return [video.path for video in listing.videos], write_captions


def build(folder):
    """A store with every kind of file; answers for its config."""
    videos, write_captions = draw(folder, videos=8)
    config = config_of(folder, folder / "store")
    for count in (5, 7, 8):  # three runs, each with more videos
        write_captions(videos[:count])
        run_again(config)
        if count == 7:  # gc leaves its traces, and one snapshot before the last
            gc(open_root(config.store), options=GcOptions(keep_snapshots=1, min_age_seconds=0.0))
    root = open_root(config.store)
    corpus = next(artifact for artifact in Artifact.all(root) if artifact.kind == "corpus")
    root.put_new(layout.pin(corpus.folder, 2), seal({"pinned": 2}))  # of a killed reader
    return config


def files_of(store):
    """{kind of file: its files}, of everything a run wrote and may read again."""
    found = {}
    for path in sorted(Path(store).rglob("*")):
        name = str(path.relative_to(store))
        if path.is_file() and not name.startswith(APART):
            found.setdefault(kind_of(name), []).append(path)
    return found


def kind_of(name):
    """For example "frames part", "corpus removal done", "run"."""
    if name.startswith(layout.RUNS):
        return "run"
    if name.startswith(layout.FORMATS):
        return "format"
    kind, _, rest = name.split("/", 2)
    if rest == "identity.json":
        return f"{kind} identity"
    what = re.sub("s$", "", rest.partition("/")[0])
    return f"{kind} {what}{' done' if rest.endswith('.done') else ''}"


def flip(path, bit):
    with path.open("r+b") as file:
        file.seek(bit // 8)
        value = file.read(1)[0]
        file.seek(bit // 8)
        file.write(bytes([value ^ (1 << bit % 8)]))


def checksums(store):
    artifacts = Artifact.all(open_root(store))
    return {a.kind: a.latest().checksum for a in artifacts if a.kind in COMPARED}


def is_found(store, path):
    name = str(path.relative_to(store))
    return name in {damage.path for damage in verify_store(open_root(store))}


def is_restored(config, path, bit, *, folder):
    """Flip on a copy, repair, run again: healthy, and every checksum is the original."""
    wanted = checksums(config.store)
    copy = folder / "copy"
    shutil.copytree(config.store, copy)
    try:
        flip(copy / path.relative_to(config.store), bit)
        repairs = repair(str(copy)).repairs
        again = last_config(str(copy))
        run_again(again)
        healthy = verify_store(open_root(copy)) == []
        return bool(repairs) and healthy and checksums(copy) == wanted
    finally:
        shutil.rmtree(copy)


def run(config, *, flips, repairs, seed, folder):
    """{kind of file: Counter(flips, found, repairs, restored)}; kinds by turns, bits at random."""
    rng = random.Random(seed)
    files = files_of(config.store)
    kinds = list(files)
    table = {kind: Counter() for kind in kinds}
    for number in range(max(flips, repairs)):
        kind = kinds[number % len(kinds)]
        path = rng.choice(files[kind])
        bit = rng.randrange(path.stat().st_size * 8)
        if number < flips:
            flip(path, bit)
            table[kind].update(flips=1, found=is_found(config.store, path))
            flip(path, bit)
        if number < repairs:
            restored = is_restored(config, path, bit, folder=folder)
            table[kind].update(repairs=1, restored=restored)
    return table


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--flips", type=int, default=200)
    parser.add_argument("--repairs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="reelvec-bitflips-") as name:
        folder = Path(name)
        table = run(
            build(folder), flips=options.flips, repairs=options.repairs, seed=options.seed,
            folder=folder,
        )  # fmt: skip
    columns = ("flips", "found", "repairs", "restored")
    print(f"{'file':<24}" + "".join(f"{column:>10}" for column in columns))
    for kind, row in sorted(table.items()):
        print(f"{kind:<24}" + "".join(f"{row[column]:>10}" for column in columns))
    total = sum(table.values(), Counter())
    print(f"{'all':<24}" + "".join(f"{total[column]:>10}" for column in columns))
    same = total["found"] == total["flips"] and total["restored"] == total["repairs"]
    sys.exit(0 if same else 1)


if __name__ == "__main__":
    main()
