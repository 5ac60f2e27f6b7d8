"""Features kept once: what is written, what is shared, and heads trained from them.

The models are in float64 from the towers to the store, so that what is kept can be told from what
is computed to the ninth digit.
"""

from dataclasses import replace

import pytest
import torch

from reelvec.models.clip import architecture
from reelvec.storage.errors import IntegrityError, MissingArtifactError
from reelvec.storage.features import FeatureReader
from reelvec.storage.frames.reader import FrameReader
from reelvec.storage.roots import open_root
from reelvec.storage.upkeep.verify import verify_store
from reelvec.tasks.artifacts import Session, SnapshotRef
from reelvec.tasks.features import encoders
from reelvec.tasks.features.encoders import FeatureSource, features_identity
from reelvec.tasks.features.keep import commit_features, features_shard, kept_by, plan_features
from reelvec.tasks.runs.holdings import Holdings
from reelvec.tasks.training import loop
from reelvec.tasks.training.committed import checkpoints
from reelvec.tasks.training.finding import training_items
from reelvec.tasks.training.items import commit_items
from reelvec.tasks.training.loop import Trainer
from reelvec.tasks.training.processes import Group
from reelvec.tasks.training.spec import Kept, TrainSpec
from reelvec.tasks.training.starting import starting_model
from tests.tasks.training.builders import (
    SMALL,
    commit_corpus,
    commit_frames,
    make_store,
    videos_and_captions,
)

TINY = replace(SMALL, vocab_size=49408, head_dim=16, embed_dim=32, text_width=32, vision_width=32)
POLICY = {"top_k": 2, "hidden_dim": 32, "mlp_hidden_dim": 8, "rescale_size": 4}
HEADS = {
    "clip4clip seqTransf": ("clip4clip", {"sim_header": "seqTransf"}),
    "clip4clip seqLSTM": ("clip4clip", {"sim_header": "seqLSTM"}),
    "clip4clip tightTransf": ("clip4clip", {"sim_header": "tightTransf"}),
    "clip2video": ("clip2video", {"centerK": 2}),
    "xclip": ("xclip", {"sim_header": "seqTransf"}),
    "teachclip": ("teachclip", {}),
    "xpool": ("xpool", {}),
    "drl": ("drl", {"cdcr": 3}),
    "ts2net": ("ts2net", {"shift_layers": [0], "n_div": 2, "num_samples": 20}),
    "adaclip clip": ("adaclip", POLICY | {"policy": "clip", "word_agg": "mlp"}),
    "adaclip raw": ("adaclip", POLICY | {"policy": "raw", "frame_agg": "mlp"}),
}


@pytest.fixture(autouse=True)
def exact(monkeypatch):
    """Small models in float64, wherever they are started."""
    monkeypatch.setattr(architecture, "ARCHITECTURES", {**architecture.ARCHITECTURES, "tiny": TINY})
    for module in (encoders, loop):
        monkeypatch.setattr(module, "starting_model", lambda c, seed: _start(c, seed).double())
    encoders._open_source.cache_clear()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    encoders._open_source.cache_clear()


def _start(config, seed):
    return starting_model(config, seed=seed)


@pytest.fixture
def store(tmp_path):
    return make_store(tmp_path, videos=8, captions=1, epochs=2, batch_size=3, freeze="backbone")


def of(config, case, **train):
    family, options = HEADS[case]
    if family not in ("adaclip", "xpool"):
        options = options | {"cross_num_hidden_layers": 1}
    model = config.model.model_copy(
        update={"family": family, "options": options, "weights": None, "architecture": "tiny"}
    )
    update = {"model": model, "train": config.train.model_copy(update=train)}
    return config.model_copy(update=update)


def keep(config, *, stop_before_publishing=False):
    """What the stage train does before it trains: (what is kept, rows that were missing)."""
    session, made = Session(config), []
    for plan in plan_features(session):
        done = [
            features_shard(plan.target, shard, inputs=plan.inputs).receipt for shard in plan.shards
        ]
        if stop_before_publishing:
            return plan
        made.append((plan, commit_features(session, plan, done)))
    return kept_by(made), sum(plan.rows for plan, _ in made)


def trained(config, kept, name):
    """Weights after a training in this process."""
    session = Session(config)
    artifact = session.open("checkpoint", {"kind": "checkpoint", "name": name})
    items = training_items(session)
    commit_items(artifact, items)
    frames = session.frames.latest()
    spec = TrainSpec(
        checkpoint=SnapshotRef.of(artifact),
        frames=SnapshotRef.to(frames),
        model=config.model,
        train=config.train,
        kept=kept,
    )
    reader = FrameReader(frames)
    if kept.backbone is not None:
        reader.gather = None  # not a single frame is read
    trainer = Trainer(spec, artifact=artifact, items=items, reader=reader, group=Group())
    trainer.run()
    return trainer.state, checkpoints(artifact.latest())[-1]


@pytest.mark.parametrize("case", HEADS)
def test_a_head_trained_from_what_was_kept_is_the_one_trained_through_the_towers(store, case):
    config = of(store, case)
    kept, _ = keep(config)
    (live, _), (apart, _) = (
        trained(config, Kept(), "live"),
        trained(config, kept, "kept"),
    )
    start = _start(config.model, config.train.seed).double().state_dict()
    moved = []
    for name, expected in live.model.state_dict().items():
        found = apart.model.state_dict()[name]
        assert (found.double() - expected.double()).abs().max() < 1e-9, name
        if not torch.equal(expected, start[name]):
            moved.append(name)
    assert [name for name in moved if name.startswith("clip.")] in ([], ["clip.logit_scale"])
    assert any(not name.startswith("clip.") for name in moved)
    points = zip(apart.progress.history, live.progress.history, strict=True)
    assert all(one == pytest.approx(other, abs=1e-9) for one, other in points)


def test_only_what_is_missing_is_written_and_heads_share_it(store):
    config = of(store, "clip4clip seqTransf")
    first, rows = keep(config)
    assert rows == 16
    again, none = keep(config)
    assert (again, none) == (first, 0)
    for case, shared in (("clip4clip tightTransf", True), ("teachclip", True), ("xclip", False)):
        other, missing = keep(of(store, case))
        assert (other.backbone.fingerprint == first.backbone.fingerprint) is shared
        assert missing == (0 if shared else 16)
    listed, said = videos_and_captions(10, 1)
    commit_corpus(config, listed, said)
    commit_frames(config, listed)
    grown, new = keep(config)
    assert new == 4 and grown.backbone.number == first.backbone.number + 1


def test_a_killed_run_goes_on_with_what_it_wrote(store):
    config = of(store, "clip4clip seqTransf")
    killed = keep(config, stop_before_publishing=True)
    assert len(killed.shards) == 2
    plan = plan_features(Session(config))[0]
    assert not plan.shards and len(plan.adopted) == 2
    kept, rows = keep(config)
    assert rows == 16 and kept.backbone.open().rows == 16


def test_its_identity_is_weights_frames_and_what_the_head_reads(store):
    config = of(store, "xclip")

    def identity(config, frames="frames"):
        return features_identity(FeatureSource.backbone(config), frames=frames)

    base, shorter = identity(config), config.model.model_copy(update={"max_words": 9})
    assert set(base["columns"]["captions"]) == {"sentence", "words", "tokens"}
    for other in (
        identity(config, frames="others"),
        identity(of(store, "xclip", seed=7)),
        identity(of(store, "xclip", precision="bf16")),
        identity(of(store, "clip4clip seqTransf")),
        identity(config.model_copy(update={"model": shorter})),
    ):
        assert other != base
    assert identity(of(store, "xclip", learning_rate=0.5, batch_size=9)) == base


def test_damage_is_found_and_a_missing_row_is_named(store):
    kept, _ = keep(of(store, "clip4clip seqTransf"))
    snapshot = kept.backbone.open()
    reader = FeatureReader(snapshot, "captions")
    with pytest.raises(MissingArtifactError, match="no features of"):
        reader.gather(["never said"])
    path = snapshot.parts("videos")[0].path
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)
    damages = verify_store(open_root(store.store))
    assert [d.kind for d in damages] == ["features"]
    key = training_items(Session(store))[0].clip_key
    with pytest.raises(IntegrityError):
        FeatureReader(kept.backbone.open(), "videos").gather([key])


def test_a_checkpoint_says_what_it_was_trained_from_so_that_gc_knows(store):
    config = of(store, "clip4clip seqTransf", epochs=1)
    kept, _ = keep(config)
    _, ref = trained(config, kept, "kept")
    assert ref.features == (kept.backbone.fingerprint,)
    holdings = Holdings(open_root(store.store))
    key = ("checkpoint", ref.part.artifact.fingerprint)
    assert holdings._kept_for[key] == {("features", kept.backbone.fingerprint)}
