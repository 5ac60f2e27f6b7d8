"""Whole runs with models that see a clip as a clip: random weights, so numbers mean nothing."""

import json

import numpy as np
import pytest

import reelvec
from reelvec.configs import ConfigError, PipelineConfig
from reelvec.storage.commits.artifact import Artifact
from reelvec.storage.errors import WeightsError
from reelvec.storage.roots import open_root
from reelvec.storage.runs import RunRecord, write_run
from reelvec.storage.weights.pretrained import read_pretrained
from reelvec.tasks.artifacts import Session
from reelvec.tasks.runs.preflight import check_config
from reelvec.tasks.training.train import train
from reelvec.tasks.weights.checking import check_model
from reelvec.tasks.weights.choice import choose_several, choose_weights
from tests.support import native_models
from tests.support.engine_free import run_embed, run_extract, run_ingest
from tests.tasks.weights.contracts_pretrained import undrawn_alike

pytest.importorskip("transformers", minversion="5.19", reason="the models are newer")


KINDS = ["videoprism", "qwen3_vl", "pe_video", "naflex", "embedding_gemma2"]


@pytest.fixture(scope="module", params=KINDS)
def folder(request, tmp_path_factory):
    made = tmp_path_factory.mktemp(request.param)
    getattr(native_models, request.param)(made)
    return made


def config_of(folder, store):
    """What `reelvec embed` runs on a folder of videos."""
    chosen = choose_weights(f"hf:{folder}", store="unused")
    document = {
        "store": str(store),
        "corpus": {"kind": "synthetic", "videos": 4, "seconds": 1, "codecs": ["h264-mp4"]},
        "extract": chosen.extract,
        "model": chosen.model,
        "train": {"epochs": 0},
    }
    return PipelineConfig.model_validate(document)


def test_without_a_draw_it_is_the_same_model(folder):
    undrawn_alike(config_of(folder, "unused").model)


def test_a_folder_end_to_end(folder, tmp_path):
    config = config_of(folder, tmp_path / "store")
    check_config(config)
    run_ingest(config)
    run_extract(config)
    train(Session(config))
    run_embed(config)
    root = open_root(config.store)
    made = {a.kind: (a.fingerprint, a.latest().number) for a in Artifact.all(root)}
    plain = config.model_dump(mode="json")
    started = "2026-01-01T00:00:00+00:00"
    write_run(root, RunRecord("x", plain, artifacts=made, started=started))
    run = reelvec.open(config.store).run("x")
    assert [row.rank for row in run.search("a red circle", top=3)] == [1, 2, 3]
    with run.searches() as searches:
        row = searches.text("a red circle").rows[0]
        (nearest, *_) = searches.file(row.path).rows
        assert nearest.video_id == row.video_id and nearest.score > 1 - 1e-5
    run.export(tmp_path / "out", to="numpy")
    (vectors,) = [np.load(f) for f in (tmp_path / "out").rglob("*.npy") if "video" in f.name][:1]
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=-1)
    assert len(vectors) == 4 and np.allclose(lengths, 1, atol=1e-5)


def test_a_model_is_checked(folder):
    found = check_model(str(folder))
    kind = json.loads((folder / "config.json").read_text())["model_type"]
    assert kind in found.what and found.vector in (24, 32, 48)
    assert found.order > 1e-4 or kind == "siglip2", "it sees the order of frames"
    assert found.frames.startswith(("exactly 4, as a clip", "exactly 5, as a clip", "up to "))


def test_what_does_not_fit_is_refused_before_any_work(folder, tmp_path):
    config = config_of(folder, tmp_path)
    if config.model.max_frames == 12:
        pytest.skip("NaFlex takes any number of frames")
    too_many = config.model.model_copy(update={"max_frames": 65})
    with pytest.raises(
        ConfigError, match=r"max_frames \(65\).*(exactly [45]|at most (64|32)) frames"
    ):
        check_config(config.model_copy(update={"model": too_many}))
    hdf5 = config.extract.model_copy(update={"format": "hdf5", "fit": "native"})
    with pytest.raises(ConfigError, match=r"extract\.format=arrow"):
        check_config(config.model_copy(update={"extract": hdf5}))


def test_several_models_share_what_is_stored(tmp_path):
    """Each file is decoded once: their frames are one artifact, where they want other ones too."""
    names = []
    for kind in ("videoprism", "qwen3_vl"):
        (tmp_path / kind).mkdir()
        getattr(native_models, kind)(tmp_path / kind)
        names.append(f"hf:{tmp_path / kind}")
    both = choose_several(names, store="unused")
    assert [one.extract for one in both] == [{"fit": "native", "size": 336}] * 2
    assert [one.model["max_frames"] for one in both] == [4, 64]
    assert choose_several(names[:1], store="unused") == [choose_weights(names[0], store="unused")]
    with pytest.raises(WeightsError, match="named twice"):
        choose_several([*names, names[0]], store="unused")


def test_a_pickle_alone_comes_with_the_line_that_converts_it(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "clip"}')
    (tmp_path / "pytorch_model.bin").write_bytes(b"PK")
    with pytest.raises(WeightsError, match=r"pickles are not read.*python -c .*weights_only=True"):
        read_pretrained(f"hf:{tmp_path}")
