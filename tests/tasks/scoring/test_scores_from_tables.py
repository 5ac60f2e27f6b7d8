"""The whole way through the store changes no score: tables against one process that keeps nothing.

The naive twin decodes each video itself, encodes text and video in one call, and scores them.
"""

import numpy as np
import pytest
import torch

from reelvec.configs import PipelineConfig
from reelvec.configs.decoding import FrameOptions
from reelvec.models.clip.architecture import ARCHITECTURES, Architecture
from reelvec.models.sampling.rules import Rule, choose, pick_stored
from reelvec.models.sampling.timeline import Timeline
from reelvec.storage.tables import read_table
from reelvec.storage.video.decoders import read_frames
from reelvec.storage.video.probe import probe
from reelvec.tasks.artifacts import Session
from reelvec.tasks.corpus.ingest import read_corpus
from reelvec.tasks.embedding.sources import sources_of
from reelvec.tasks.scoring.logits import scoring_of
from reelvec.tasks.scoring.split_rows import tensors_of
from reelvec.tasks.training.starting import starting_model
from reelvec.tasks.training.train import train
from tests.support.engine_free import run_embed, run_extract, run_ingest

FRAMES, STORED, WORDS, SIDE, VIDEOS = 4, 5, 12, 32, 5
#: heads stay 64 wide; the vocabulary is the tokenizer's, its vectors narrow
SIZES = Architecture(
    embed_dim=64,
    image_size=SIDE,
    vision_layers=1,
    vision_width=64,
    patch_size=16,
    text_width=64,
    text_layers=5,
)

POLICY = {"hidden_dim": 64, "mlp_hidden_dim": 16, "top_k": 2, "rescale_size": 8}
VARIANTS = [
    *[
        (family, {"sim_header": header, "linear_patch": patch, "cross_num_hidden_layers": 1})
        for family in ("clip4clip", "xclip")
        for header in ("meanP", "seqLSTM", "seqTransf", "tightTransf")
        for patch in (("2d", "3d") if header in ("meanP", "tightTransf") else ("2d",))
    ],
    ("clip2video", {"sim_type": "meanP", "temporal_type": "", "center_type": ""}),
    ("clip2video", {"temporal_proj": "", "center_type": ""}),
    ("clip2video", {"temporal_proj": "sigmoid_mlp", "center_proj": "TAB"}),
    ("clip2video", {"centerK": 3, "center_weight": 0.3}),
    ("adaclip", {}),
    ("adaclip", {"sim_header": "seqTransf", "frame_agg": "qscore"}),
    ("adaclip", {"policy": "raw", "frame_agg": "mlp", **POLICY}),
    ("adaclip", {"policy": "clip", "rnn": "bilstm", "frame_agg": "qscore", **POLICY}),
    ("adaclip", {"policy": "clip", "rnn": "none", "reuse_scores": True, **POLICY}),
    ("adaclip", {"policy": "mobilenet_v3_large", "sim_header": "transformer", **POLICY}),
    ("frozen", {}),
]


def label(variant):
    family, options = variant
    return "-".join([family, *[str(v) for k, v in options.items() if k not in POLICY and v != 1]])


@pytest.fixture(scope="module", autouse=True)
def sizes():
    """A named architecture small enough to try twenty models."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "reelvec.models.clip.architecture.ARCHITECTURES", {**ARCHITECTURES, "small": SIZES}
        )
        yield


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """Videos listed and decoded once for all models."""
    document = {
        "store": str(tmp_path_factory.mktemp("store")),
        "corpus": {
            "kind": "synthetic",
            "videos": VIDEOS,
            "seconds": 1,
            "size": 48,
            "captions_per_video": 2,
            "codecs": ["h264-mp4", "mpeg4-avi"],
        },
        "extract": {"size": SIDE, "sampling": {"policy": "uniform", "count": STORED}},
        "model": {"architecture": "small", "max_words": WORDS, "max_frames": FRAMES},
        "train": {"epochs": 0},
        "embed": {"batch_size": 2, "shard_rows": 2},
    }
    config = PipelineConfig.model_validate(document)
    run_ingest(config)
    run_extract(config)
    return config


@pytest.fixture(scope="module")
def clips(config):
    """The twin's own eyes: uint8 frames [V, F, S, S, 3] by video, and the corpus' captions."""
    corpus = read_corpus(Session(config))
    found = {}
    for video in corpus.videos:
        seen = probe(video.path)
        timeline = Timeline(
            pts_seconds=seen.pts_seconds,
            fps=float(seen.fps),
            frames_from_header=seen.frames_from_header,
        )
        stored = choose(Rule(policy="uniform", count=STORED), timeline=timeline)
        picks = np.unique(stored[pick_stored(STORED, FRAMES)])
        decoded = read_frames(picks, probe=seen, options=FrameOptions(size=SIDE))
        found[video.video_id] = decoded.frames
    return found, corpus.captions


def tables(snapshot, table, key, names):
    rows = read_table(snapshot, table)
    return rows.column(key).to_pylist(), tensors_of(rows, names)


@pytest.mark.parametrize("variant", VARIANTS, ids=label)
@torch.inference_mode()
def test_scores_from_tables_are_scores_from_videos(config, clips, variant):
    family, options = variant
    model_config = config.model.model_copy(update={"family": family, "options": options})
    config = config.model_copy(update={"model": model_config})
    train(Session(config))
    _, snapshot = run_embed(config)
    scoring = scoring_of(sources_of(Session(config)).encoder().model)
    video_ids, videos = tables(snapshot, "videos", "video_id", scoring.video_columns)
    caption_ids, texts = tables(snapshot, "captions", "caption_id", scoring.text_columns)
    logits = scoring.similarity(texts, videos)

    frames, captions = clips
    model = starting_model(model_config, seed=config.train.seed).eval()
    text_of = {caption.caption_id: caption.text for caption in captions}
    text = model.encode_text(model.tokenize([text_of[name] for name in caption_ids]))
    pixels = torch.from_numpy(np.stack([frames[name] for name in video_ids]))
    mask = torch.ones(pixels.shape[:2], dtype=torch.int64)
    video = model.encode_video(**model.prepare(pixels, mask))
    expected = model.similarity(text, video)

    assert logits.shape == (2 * VIDEOS, VIDEOS) and expected.std() > 1e-6
    cosine = 1.0 if "tightTransf" in options.values() else model.logit_scale.exp()
    torch.testing.assert_close(logits / cosine, expected / cosine, rtol=0, atol=1e-5)
