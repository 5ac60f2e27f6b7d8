"""A training step of a head: from kept features, through frozen towers, and with the towers.

    python -m tests.benchmarks.heads [small] [b32]

CLIP4Clip seqTransf on random weights, 12 frames a video, the same pairs in each way. Kept features
are read from a `features` artifact in a temporary folder, as `train.freeze: backbone` reads them;
also a step of 128 pairs, which repeats these. The last column compares a pair's seconds. CPU
seconds of one thread, least of the rounds: other work on the machine does not count.
"""

import argparse
import tempfile
import time
from functools import partial

import pyarrow as pa
import torch

from reelvec.configs.schema import TrainConfig
from reelvec.models.heads import head_of
from reelvec.models.registry import build
from reelvec.storage.commits.artifact import Artifact
from reelvec.storage.features import write_features
from reelvec.storage.records import Outcome
from reelvec.storage.roots import open_root
from reelvec.tasks.artifacts import SnapshotRef
from reelvec.tasks.training.items import Item
from reelvec.tasks.training.kept import CAPTIONS, VIDEOS, KeptFeatures, text_key
from reelvec.tasks.training.processes import Group
from reelvec.tasks.training.starting import make_optimizer, make_trainable
from reelvec.tasks.training.step import StepOptions, contrastive_backward, limited_norm
from tests.benchmarks.training import FORMS, FRAMES, TOTAL, WORDS, drawn_batch

PAIRS = {"small": 16, "b32": 2}
ROUNDS = {"small": 3, "b32": 1}
MANY = 128
KEPT = "the head, from kept features"
WAYS = {
    KEPT: {"freeze": "backbone"},
    f"{KEPT} of many": {"freeze": "backbone"},
    "the head, through frozen towers": {"freeze": "backbone"},
    "the head and adapters (LoRA)": {"lora": {}},
    "the head and the towers": {},
}


def model_of(sizes, train):
    torch.manual_seed(0)
    options = {"sim_header": "seqTransf"}
    model = build(
        "clip4clip", options=options, architecture=sizes, max_words=WORDS, max_frames=FRAMES
    )
    return make_trainable(model, train, device=torch.device("cpu"))


def kept_rows(model, batch, items, root):
    """What reads rows of a batch, as many as asked for, from an artifact."""
    artifact = Artifact.open(root, kind="features", identity={"of": "a benchmark"})
    head, clips = head_of(model), batch.clips
    with torch.no_grad():
        text = head.text_backbone(batch.tokens)
        video = head.video_backbone(**head.prepare(clips.frames, clips.mask))
    receipts = []
    for table, features, keys in (
        (CAPTIONS, text, [text_key(item.text) for item in items]),
        (VIDEOS, video, [item.clip_key for item in items]),
    ):
        columns = {"key": pa.array(keys)}
        for name, flat in features.columns().items():
            values = pa.array(flat.numpy().reshape(-1))
            columns[name] = pa.FixedSizeListArray.from_arrays(values, flat.shape[1])
        with artifact.new_part(table=table, shard="all", suffix=".arrow") as part:
            write_features(part.path, pa.table(columns), metadata={})
            outcomes = [Outcome(key) for key in keys]
            receipts.append(part.commit(rows=len(keys), outcomes=outcomes))
    kept = KeptFeatures.of_backbone(SnapshotRef.to(artifact.publish(add=receipts)), model)
    return lambda count: kept.batch((items * count)[:count], pairs=count)


def seconds(model, rows, *, train, rounds):
    """CPU seconds of a step, its rows read anew."""
    optimizer = make_optimizer(model, train, total_steps=TOTAL)
    found = []
    for number in range(rounds):
        started = time.process_time()
        optimizer.zero_grad(set_to_none=True)
        contrastive_backward(model, rows(), group=Group(), step=number, options=StepOptions())
        limited_norm(model, train.max_grad_norm)
        optimizer.step()
        found.append(time.process_time() - started)
    return min(found)


def measured(form):
    """Pairs and CPU seconds of a step, by way."""
    sizes, pairs = FORMS[form][0], PAIRS[form]
    batch = drawn_batch(sizes, pairs=pairs, real=FRAMES)
    items = [Item(f"train/{n}", "train", f"v{n}", f"{n:032x}", f"text {n}") for n in range(pairs)]
    found = {}
    with tempfile.TemporaryDirectory(prefix="reelvec-heads-") as folder:
        for way, options in WAYS.items():
            train = TrainConfig.model_validate({"warmup": 0.0, **options})
            model = model_of(sizes, train)
            rows, rounds, count = partial(batch.rows, slice(None)), ROUNDS[form], pairs
            if way.startswith(KEPT):
                rounds += 2  # the first one opens files
                count = pairs if way == KEPT else MANY
                read = kept_rows(model, batch, items, open_root(f"{folder}/{way}"))
                rows = partial(read, count)
            found[way] = count, seconds(model, rows, train=train, rounds=rounds)
    return found


def main(forms=("small",)):
    torch.set_num_threads(1)
    print("| towers | pairs | what learns | CPU s a step | CPU s a pair | times kept features |")
    print("| --- | --- | --- | --- | --- | --- |")
    for form in forms:
        found = measured(form)
        kept = found[KEPT][1]
        for way, (pairs, spent) in found.items():
            times = spent / pairs / (kept / PAIRS[form])
            row = f"{form} | {pairs} | {way} | {spent:.3f} | {spent / pairs:.4f} | {times:.2f}"
            print(f"| {row} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("forms", nargs="*", default=["small"], choices=list(PAIRS))
    main(parser.parse_args().forms)
