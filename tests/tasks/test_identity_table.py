"""Which identities each field of the configuration changes: a table, held against the code.

A field that can change a vector or a metric changes an identity; one that cannot changes none. A
new field without a row here fails. What a mask names is written in DECISIONS.md, "What identities
hold".
"""

import pytest
from pydantic import BaseModel

from reelvec.configs import PipelineConfig
from reelvec.configs.corpora import (
    BenchmarkCorpus,
    FilmCorpus,
    FolderCorpus,
    StoryCorpus,
    SyntheticCorpus,
    WindowsConfig,
)
from reelvec.configs.decoding import SoundForm
from reelvec.configs.schema import (
    CompactionConfig,
    DistillationConfig,
    EmbedConfig,
    EvaluateConfig,
    ExtractConfig,
    ModelConfig,
    SamplingConfig,
    TrainConfig,
)
from reelvec.configs.training import LoraConfig
from reelvec.configs.upkeep import GateConfig
from reelvec.models.registry import FAMILIES, family_class, validate_options
from reelvec.tasks.training.identity import former_identity
from tests.support.run_identities import fingerprints, identities

NONE = frozenset()
EVALUATION = frozenset({"evaluation"})
EMBEDDINGS = EVALUATION | {"embeddings"}
CHECKPOINT = frozenset({"checkpoint"})
"""The weights that come of it change embeddings and evaluation by their hash: see below."""
MODEL = EMBEDDINGS | CHECKPOINT
CORPUS = MODEL | {"corpus"}
FRAMES = MODEL | {"frames"}

FIELDS = {
    # what a run is called, and where and by how many it is worked on
    PipelineConfig: {
        "preset": ("demo", NONE),
        "name": ("another", NONE),
        "notes": ("a note", NONE),
        "store": ("/another/store", NONE),
        "max_lost_fraction": (0.5, NONE),
        "runner": ("dask", NONE),
        "workers": (3, NONE),
        "dask_address": ("tcp://somewhere:1", NONE),
    },
    FolderCorpus: {
        "kind": (None, CORPUS),  # the other kinds are told apart below
        "videos": ("/other/videos", CORPUS),
        "captions": ("/other/captions.csv", CORPUS),
        "columns": ({"video_id": "clip"}, CORPUS),
        "splits": ({"train": 0.5, "test": 0.5}, CORPUS),
        "split_by_folder": (True, CORPUS),
    },
    SyntheticCorpus: {
        "kind": (None, CORPUS),
        "videos": (7, CORPUS),
        "seed": (7, CORPUS),
        "seconds": (7.0, CORPUS),
        "fps": (7, CORPUS),
        "size": (64, CORPUS),
        "captions_per_video": (7, CORPUS),
        "codecs": (("h264-mp4",), CORPUS),
        "motion_only": (0.5, CORPUS),
    },
    StoryCorpus: {
        "kind": (None, CORPUS),
        "about": ("motion", CORPUS),
        "videos": (7, CORPUS),
        "seed": (7, CORPUS),
        "fps": (7, CORPUS),
        "size": (64, CORPUS),
        "codecs": (("mpeg4-avi",), CORPUS),
    },
    FilmCorpus: {
        "kind": (None, CORPUS),
        "videos": (7, CORPUS),
        "events": (7, CORPUS),
        "seed": (7, CORPUS),
        "fps": (7, CORPUS),
        "size": (32, CORPUS),
        "codecs": (("mpeg4-avi",), CORPUS),
    },
    WindowsConfig: {
        "by": ("shots", EMBEDDINGS),
        "seconds": (7.0, EMBEDDINGS),
        "stride": (3.0, EMBEDDINGS),
        "threshold": (7.0, EMBEDDINGS),
        "shortest": (7.0, EMBEDDINGS),
    },
    BenchmarkCorpus: {
        "kind": (None, CORPUS),
        "videos": ("/other/videos", CORPUS),
        "annotations": ("/other/annotations", CORPUS),
        "protocol": ("7k", CORPUS),
    },
    SamplingConfig: {
        "policy": ("uniform", FRAMES),
        "rate": (2.0, FRAMES),
        "count": (7, FRAMES),
        "max_frames": (7, FRAMES),
        "limit": ("head", FRAMES),
        "seed": (7, FRAMES),
    },
    ExtractConfig: {
        "size": (96, FRAMES),
        "fit": ("squash", FRAMES),
        "interpolation": ("bilinear", FRAMES),
        "resize": ("pillow", FRAMES),
        "decoder": ("ffmpeg", NONE),  # but to salvage with: see below
        "damaged": ("salvage", FRAMES),
        # limits: whether a clip has frames, never which
        "deadline_seconds": (7.0, NONE),
        "deadline_seconds_per_gib": (7.0, NONE),
        "deadline_seconds_per_gigapixel": (7.0, NONE),
        "no_progress_seconds": (7.0, NONE),
        "memory_mb": (512, NONE),
        "max_pixels": (77, NONE),
        "format": ("hdf5", FRAMES),
        "payload": ("jpeg", FRAMES),
        "shard_videos": (7, NONE),
        "max_failed_fraction": (0.7, NONE),
        "warn_failed_fraction": (0.7, NONE),
    },
    SoundForm: {  # where the model hears: see below
        "rate": (16_000, NONE),
        "max_seconds": (7.0, NONE),
    },
    ModelConfig: {
        "family": ("xclip", MODEL),
        "options": ({"sim_header": "seqTransf"}, MODEL),
        "architecture": ("micro", CHECKPOINT),  # vectors: by the hash of the weights
        "weights": ("/other/weights.pt", CHECKPOINT),
        "max_words": (20, MODEL),
        "max_frames": (7, MODEL),
        "frame_selection": ("head", MODEL),
        "policy_weights": ("/other/mobilenet.pth", CHECKPOINT),
        "train_frame_draw": ("random", CHECKPOINT),
        "train_frame_order": ("reverse", CHECKPOINT),
        "eval_frame_order": ("reverse", MODEL),
    },
    TrainConfig: {
        "epochs": (7, CHECKPOINT),
        "batch_size": (7, CHECKPOINT),
        "precision": ("bf16", CHECKPOINT),
        "optimizer": ("adamw", CHECKPOINT),
        "learning_rate": (7e-4, CHECKPOINT),
        "clip_rate_factor": (7e-3, CHECKPOINT),
        "weight_decay": (0.7, CHECKPOINT),
        "schedule": ("constant", CHECKPOINT),
        "warmup": (0.7, CHECKPOINT),
        "max_grad_norm": (7.0, CHECKPOINT),
        "schedule_over": ("pairs", CHECKPOINT),
        "betas": ((0.7, 0.98), CHECKPOINT),
        "epsilon": (7e-6, CHECKPOINT),
        "freeze_layers": (7, CHECKPOINT),
        "freeze": ("backbone", CHECKPOINT),
        "teachers": (("a run",), CHECKPOINT),  # by the hash of their weights
        "gradient_scaling": ("legacy", CHECKPOINT),
        "negatives": ("process", CHECKPOINT),
        "captions": ("joined", CHECKPOINT),
        "selection_split": ("test", CHECKPOINT),
        "evaluate_every": (7, CHECKPOINT),
        "stop_after": (7, CHECKPOINT),
        "seed": (7, CHECKPOINT),
        "when_corpus_grows": ("retrain", CHECKPOINT),  # the training set, then
        # how it is worked on: rounding apart the same weights (but see below), or what is kept
        "accumulation": (7, NONE),
        "processes": (7, NONE),
        "nodes": (7, NONE),
        "address": ("10.0.0.1:2900", NONE),
        "hang_minutes": (7.0, NONE),
        "device": ("cpu", NONE),
        "checkpoint_every": (7, NONE),
        "keep_last": (7, NONE),
        "watch": (("tensorboard",), NONE),
        "compile": (True, NONE),
        "activation_checkpointing": (True, NONE),
        "threads": (7, NONE),
    },
    LoraConfig: {
        "rank": (4, CHECKPOINT),
        "alpha": (7.0, CHECKPOINT),
        "targets": (("q",), CHECKPOINT),
        "towers": (("visual",), CHECKPOINT),
        "rate_factor": (7.0, CHECKPOINT),
    },
    DistillationConfig: {
        "scores": ("ce", CHECKPOINT),
        "frames": ("l1", CHECKPOINT),
        "temperature": (7.0, CHECKPOINT),
        "weights": ((1.0, 2.0, 3.0), CHECKPOINT),
    },
    EmbedConfig: {
        "dtype": ("float16", EMBEDDINGS),
        "precision": ("bf16", EMBEDDINGS),
        "device": ("cpu", NONE),
        "compile": (True, NONE),
        "batch_size": (7, NONE),  # but where rows see each other: see below
        "shard_rows": (7, NONE),
    },
    EvaluateConfig: {
        "split": ("val", EVALUATION),
        "ties": ("optimistic", EVALUATION),
        "rivals": ("captions", EVALUATION),
        "rerank": (("dual_softmax",), EVALUATION),
        "bootstrap": (7, EVALUATION),
        "block": (7, NONE),
        "published": ({"t2v/R@1": 44.5}, EVALUATION),  # a column of the metrics
        "published_source": ("a paper", EVALUATION),
    },
    # how rows lie in parts, never which rows there are
    CompactionConfig: {
        "least_parts": (7, NONE),
        "small_mb": (7.0, NONE),
        "superseded": (0.7, NONE),
        "target_mb": (7.0, NONE),
        "limit_mb": (7.0, NONE),
    },
    GateConfig: {
        "nightly": (False, NONE),
        "recall_at": (7, NONE),
        "max_recall_drop": (7.0, NONE),
        "max_lost_fraction": (0.7, NONE),
        "neighbours": (7, NONE),
        "min_overlap": (0.7, NONE),
        "min_overlap_same": (0.7, NONE),
        "norm_tolerance": (0.7, NONE),
        "probes": (7, NONE),
    },
}

OPTIONS = {
    "clip4clip": {
        "sim_header": "seqTransf",
        "linear_patch": "3d",
        "cross_num_hidden_layers": 2,
        "frame_position_std": 0.4,
    },
    "clip2video": {
        "sim_type": "meanP",
        "temporal_type": "",
        "temporal_proj": "",
        "center_type": "",
        "center_proj": "",
        "centerK": 7,
        "center_weight": 0.7,
        "cross_num_hidden_layers": 2,
        "mask_layout": "legacy",
    },
    "adaclip": {
        "policy": "raw",
        "policy_view": "centre",
        "top_k": 7,
        "rnn": "lstm",
        "mlp_type": "fc",
        "hidden_dim": 64,
        "mlp_hidden_dim": 7,
        "rescale_size": 7,
        "sim_header": "seqTransf",
        "frame_agg": "mlp",
        "frame_agg_temp": 0.7,
        "word_agg": "mlp",
        "word_agg_temp": 0.7,
        "reuse_scores": True,
        "warmup_epochs": 7,
        "temperature": 7.0,
        "temperature_decay": 0.7,
        "temperature_least": 0.7,
        "freeze_clip": True,
        "freeze_cnn": True,
        "batch_norm": "legacy",
        "mask_layout": "legacy",
    },
    "frozen": {
        "dimensions": 64,
        "text_instruction": "Find a video",
        "video_instruction": "Say what moves",
        "wrapper": "outer",
        "hears": True,
    },
}
OPTIONS["xclip"] = OPTIONS["clip4clip"]
OPTIONS["teachclip"] = OPTIONS["clip4clip"] | {
    "sim_header": "meanP",
    "frame_temperature": 0.2,
    "weight_mask": "legacy",
}
OPTIONS["xpool"] = {
    "num_mha_heads": 2,
    "transformer_dropout": 0.4,
    "short_videos": "repeat",
}
OPTIONS["xpool_baseline"] = {
    "pooling": "topk",
    "top_k": 2,
    "attention_temperature": 0.02,
    "short_videos": "repeat",
}
OPTIONS["drl"] = OPTIONS["clip4clip"] | {
    "sim_header": "meanP",
    "interaction": "ti",
    "wti_arch": 3,
    "pair_mask": "legacy",
    "cdcr": 2,
    "cdcr_alpha1": 0.7,
    "cdcr_alpha2": 0.7,
    "cdcr_lambda": 0.7,
    "cdcr_guard": "legacy",
}
TOKENS = OPTIONS["clip4clip"] | {
    "shift_layers": [1],
    "n_div": 5,
    "topk": 2,
    "num_samples": 7,
    "sigma": 0.7,
    "selection": "hard",
}
OPTIONS["ts2net"] = TOKENS | {"sim_header": "seqLSTM", "mask_layout": "legacy"}
OPTIONS["ucofia"] = TOKENS | {"sim_header": "meanP", "code": "eval_t2v"}
NEEDED = {
    ("clip2video", "sim_type"): {"temporal_type": "", "center_proj": ""},
    ("clip2video", "temporal_type"): {"center_proj": ""},
}
"""Other options without which a value is not valid; they stand in both configs."""

CORPORA = {
    FolderCorpus: {"kind": "folder", "videos": "/videos"},
    SyntheticCorpus: {"kind": "synthetic"},
    StoryCorpus: {"kind": "stories", "about": "order"},
    FilmCorpus: {"kind": "films"},
    BenchmarkCorpus: {"kind": "msrvtt", "videos": "/videos", "annotations": "/annotations"},
}
GROUPS = {
    ExtractConfig: ("extract",),
    SamplingConfig: ("extract", "sampling"),
    SoundForm: ("extract", "sound"),
    ModelConfig: ("model",),
    TrainConfig: ("train",),
    DistillationConfig: ("train", "distillation"),
    LoraConfig: ("train", "lora"),
    WindowsConfig: ("corpus", "windows"),
    EmbedConfig: ("embed",),
    EvaluateConfig: ("evaluate",),
    CompactionConfig: ("compaction",),
    GateConfig: ("gate",),
    PipelineConfig: (),
} | dict.fromkeys(CORPORA, ("corpus",))
ROWS = [
    (options, name, value, changed)
    for options, fields in FIELDS.items()
    for name, (value, changed) in fields.items()
    if value is not None
]


def run(*path, base=None, **fields):
    """A config with `fields` set in the group at `path`."""
    given = {"train": {"epochs": 3}} | (base or {})
    group = given
    for name in path:
        group[name] = dict(group.get(name, {}))
        group = group[name]
    group.update(fields)
    return PipelineConfig.model_validate(given)


def changed_by(config, other, **keywords):
    before, after = fingerprints(config, **keywords), fingerprints(other, **keywords)
    return {kind for kind in before if before[kind] != after[kind]}


@pytest.mark.parametrize(
    ("options", "name", "value", "changed"),
    ROWS,
    ids=[f"{options.__name__}.{name}" for options, name, _, _ in ROWS],
)
def test_each_field_changes_the_identities_it_should(options, name, value, changed):
    base = {"corpus": CORPORA[options]} if options in CORPORA else {}
    if options is DistillationConfig:
        base = {"train": {"teachers": ["a run"]}}
    if options is LoraConfig:
        base = {"train": {"lora": {}}}
    if options is WindowsConfig:
        base = {"corpus": CORPORA[FolderCorpus] | {"windows": {}}}
    if name == "preset":  # the same run, one of them by the preset's name
        plain = PipelineConfig(preset="demo")
        assert changed_by(plain, plain.model_copy(update={"preset": None})) == changed
        return
    config, other = run(base=base), run(*GROUPS[options], base=base, **{name: value})
    assert config != other
    assert changed_by(config, other) == changed


def test_every_field_of_every_class_has_a_row():
    assert reached(PipelineConfig) == set(FIELDS)
    for options, fields in FIELDS.items():
        own = {name for name, field in options.model_fields.items() if not groups_in(field)}
        assert set(fields) == own, options
    assert set(OPTIONS) == set(FAMILIES)
    for family, values in OPTIONS.items():
        assert set(values) == set(family_class(family).options_class.model_fields), family


def reached(options):
    """Classes of options that a config reaches, itself included."""
    found = {options}
    for field in options.model_fields.values():
        for kind in groups_in(field):
            found |= reached(kind)
    return found


def groups_in(field):
    """Classes of options that a field holds: none where it is a value."""
    kinds = getattr(field.annotation, "__args__", (field.annotation,))
    return [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]


def test_how_teachers_are_followed_counts_where_there_are_any():
    assert changed_by(run(), run("train", "distillation", temperature=7.0)) == NONE


def test_adapters_count_where_there_are_any():
    assert changed_by(run(), run("train", lora=None)) == NONE
    assert changed_by(run(), run("train", lora={})) == CHECKPOINT
    again = run("train", lora={"targets": ["v", "q", "v"]})
    assert changed_by(run("train", lora={}), again) == NONE


def test_the_form_of_sound_counts_where_the_model_hears():
    hearing = {"model": {"family": "frozen", "options": {"hears": True}}}
    for form in ({"rate": 16_000}, {"max_seconds": 7.0}):
        found = changed_by(run(base=hearing), run("extract", "sound", base=hearing, **form))
        assert found == EMBEDDINGS | {"audio"}
    silent = {"model": {"family": "frozen"}}
    assert changed_by(run(base=silent), run(base=hearing)) >= MODEL
    assert "audio" not in identities(run(base=silent))
    assert "audio" not in identities(run(base=silent))["embeddings"]


def test_windows_are_rows_of_the_embeddings_alone():
    for corpus in CORPORA.values():
        config = run(base={"corpus": corpus})
        assert changed_by(config, run("corpus", base={"corpus": corpus}, windows=None)) == NONE
        cut = run("corpus", base={"corpus": corpus}, windows={})
        assert changed_by(config, cut) == EMBEDDINGS


def test_kinds_of_corpora_are_told_apart():
    configs = [run(base={"corpus": corpus}) for corpus in CORPORA.values()]
    configs.append(run(base={"corpus": CORPORA[BenchmarkCorpus] | {"kind": "msvd"}}))
    for config in configs[1:]:
        assert changed_by(configs[0], config) == CORPUS
    assert len({fingerprints(config)["corpus"] for config in configs}) == len(configs)


@pytest.mark.parametrize(
    ("family", "name", "value"),
    [(family, name, value) for family, values in OPTIONS.items() for name, value in values.items()],
)
def test_each_option_of_a_family_changes_model_and_vectors(family, name, value):
    needed = NEEDED.get((family, name), {})
    config = run("model", family=family, options=needed)
    other = run("model", family=family, options=needed | {name: value})
    default = family_class(family).options_class.model_fields[name].default
    assert value != default
    validate_options(family, other.model.options)
    assert changed_by(config, other) == MODEL


def test_trained_weights_change_what_is_made_with_them():
    config = run()
    before, after = fingerprints(config), fingerprints(config, weights="other weights")
    assert {kind for kind in before if before[kind] != after[kind]} == EMBEDDINGS


def test_an_untrained_model_depends_on_nothing_but_itself():
    untrained = run("train", epochs=0)
    for changes, path in (({"size": 96}, ["extract"]), ({"batch_size": 7}, ["train"])):
        other = run(*path, base={"train": {"epochs": 0}}, **changes)
        assert "checkpoint" not in changed_by(untrained, other)
    assert changed_by(untrained, run("train", epochs=0, seed=7)) == CHECKPOINT
    assert changed_by(untrained, untrained, training_set="grown") == NONE


def test_weights_stand_for_their_name_and_sizes():
    weighted = run("model", weights="/some/weights.pt")
    same = run("model", weights="/elsewhere/same.pt", architecture="ViT-B/32")
    assert changed_by(weighted, same, start="hash") == NONE


def test_a_grown_training_set_counts_where_it_is_trained_anew():
    for when, differs in (("keep", set()), ("retrain", {"checkpoint"})):
        config = run("train", epochs=3, when_corpus_grows=when)
        before, after = fingerprints(config), fingerprints(config, training_set="grown")
        assert {kind for kind in before if before[kind] != after[kind]} == differs


def test_a_decoder_named_to_salvage_with_counts():
    """Decoders agree on whole files; of a damaged one each keeps what it came to."""
    salvaging = {"extract": {"damaged": "salvage"}}
    config = run(base=salvaging)
    names = ("selective", "ffmpeg", "decord")
    others = [run("extract", base=salvaging, decoder=name) for name in names]
    for other in others:
        assert changed_by(config, other) == FRAMES
    assert len({fingerprints(other)["frames"] for other in others}) == len(names)


SEEN = [
    ("clip2video", {"mask_layout": "legacy"}),
    ("adaclip", {"word_agg": "transformer", "mask_layout": "legacy"}),
]
"""Models whose rows see the rows beside them."""
DRAWN = [("clip4clip", {"sim_header": "tightTransf"}), ("adaclip", {"policy": "raw"})]
"""Models that draw noise in training: by row, so that cuts do not matter."""
MOVING = [("adaclip", {"policy": "mobilenet_v3_large"})]
"""Models that take statistics over a batch in training."""


@pytest.mark.parametrize("name", ["batch_size", "shard_rows"])
def test_batches_count_where_rows_see_each_other(name):
    for family, options in SEEN:
        base = {"model": {"family": family, "options": options}}
        assert changed_by(run(base=base), run("embed", base=base, **{name: 7})) == EMBEDDINGS
    for family, options in DRAWN:
        base = {"model": {"family": family, "options": options}}
        assert changed_by(run(base=base), run("embed", base=base, **{name: 7})) == NONE


@pytest.mark.parametrize("name", ["accumulation", "processes"])
def test_cuts_of_a_batch_count_where_training_is_not_row_by_row(name):
    for family, options in SEEN + MOVING:
        base = {"model": {"family": family, "options": options}}
        assert changed_by(run(base=base), run("train", base=base, **{name: 7})) == CHECKPOINT
    for family, options in DRAWN:
        base = {"model": {"family": family, "options": options}}
        assert changed_by(run(base=base), run("train", base=base, **{name: 7})) == NONE
    for legacy in ({"gradient_scaling": "legacy"}, {"negatives": "process"}):
        base = {"train": legacy}
        changed = CHECKPOINT if name == "processes" else NONE
        assert changed_by(run(base=base), run("train", base=base, **{name: 7})) == changed


def test_what_counts_is_how_many_processes_there_are_not_on_which_nodes():
    base = {"model": {"family": MOVING[0][0], "options": MOVING[0][1]}}
    places = [(4, 1), (2, 2), (1, 4)]
    same = {
        fingerprints(run("train", base=base, processes=processes, nodes=nodes))["checkpoint"]
        for processes, nodes in places
    }
    two = fingerprints(run("train", base=base, processes=2))["checkpoint"]
    assert len(same) == 1 and two not in same


def test_the_identity_of_noise_drawn_by_part_is_known():
    """Trainings of before are found under it: it named the cuts of a batch, where it was cut."""
    for family, options in DRAWN:
        base = {"model": {"family": family, "options": options}}
        config = run("train", base=base, processes=2, accumulation=3)
        identity = identities(config)["checkpoint"]
        former = former_identity(identity, config)
        cuts = {"processes": 2, "accumulation": 3}
        assert former == {**identity, "train": {**identity["train"], **cuts}}
        whole = run(base=base)
        assert former_identity(identities(whole)["checkpoint"], whole) is None
        untrained = run("train", base=base, epochs=0, processes=2)
        assert former_identity(identities(untrained)["checkpoint"], untrained) is None
    for family, options in [*SEEN, *MOVING, ("clip4clip", {})]:
        config = run("train", base={"model": {"family": family, "options": options}}, processes=2)
        assert former_identity(identities(config)["checkpoint"], config) is None
