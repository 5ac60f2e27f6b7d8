"""Every preset: it loads, fits what models and readers take, and says where it is from."""

import dataclasses
import json
import re
from collections import Counter

import pytest
import torch
import yaml

from reelvec.configs import load, preset_names
from reelvec.configs.corpora import BenchmarkCorpus
from reelvec.configs.presets import PRESET_DIR
from reelvec.models.adaclip.mobilenet import NETWORKS
from reelvec.models.clip.architecture import architecture
from reelvec.models.registry import build, validate_options
from reelvec.models.sampling.rules import POLICIES
from reelvec.storage.corpora.benchmarks.published import PUBLISHED
from reelvec.storage.corpora.registry import reader_class

SYSTEMS = {
    "clip4clip": 20,
    "clip2video": 6,
    "xclip": 11,
    "adaclip": 4,
    "xpool": 5,
    "drl": 5,
    "ts2net": 4,
    "ucofia": 2,
    "teachclip": 2,
}
"""Files by system: the published results, and the recipe they start from."""

FILES = sorted(PRESET_DIR.rglob("*.yaml"))
PUBLISHED_PRESETS = [
    name
    for name in preset_names()
    if name.partition("/")[0] in SYSTEMS and not name.endswith("/recipe")
]
METRIC = re.compile(r"(t2v|v2t)/(R@(1|5|10|50)|MdR|MnR)")


def header_of(name):
    """The comment a preset opens with, its lines joined."""
    lines = (PRESET_DIR / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    comment = []
    for line in lines:
        if not line.startswith("#"):
            break
        comment.append(line.removeprefix("#").strip().removesuffix("\\").strip())
    return " ".join(comment)


def test_as_many_as_there_should_be():
    found = Counter(name.split("/")[0] for name in preset_names() if "/" in name)
    assert {system: found[system] for system in SYSTEMS} == SYSTEMS
    assert len(preset_names()) == len(FILES)
    assert len(PUBLISHED_PRESETS) == sum(SYSTEMS.values()) - len(SYSTEMS)


def test_one_place_for_names():
    assert list(PRESET_DIR.rglob("*.yml")) == []
    for path in FILES:
        assert " " not in path.relative_to(PRESET_DIR).as_posix()


@pytest.mark.parametrize("name", preset_names())
def test_fits_what_models_and_readers_take(name):
    config = load(name)
    validate_options(config.model.family, config.model.options)
    sizes = architecture(config.model.architecture)
    sampling = config.extract.sampling
    assert sampling.policy in POLICIES
    assert config.extract.size == sizes.image_size
    if sampling.max_frames is not None:  # what is kept must be enough for the model
        assert sampling.max_frames >= config.model.max_frames
    if sampling.policy in ("uniform", "segments", "clip2video_ffmpeg", "adaclip_uniform", "xpool"):
        assert sampling.count >= config.model.max_frames
    corpus = config.corpus
    if isinstance(corpus, BenchmarkCorpus):
        assert corpus.protocol in reader_class(corpus.kind).protocols


@pytest.mark.parametrize("name", preset_names())
def test_opens_with_its_command(name):
    header = header_of(name)
    if name == "demo":
        assert "reelvec demo" in header
        return
    command = re.search(rf"reelvec run {re.escape(name)}( |$)", header)
    assert command, f"{name} does not open with `reelvec run {name}`"


def test_the_command_is_a_whole_run():
    """Overrides in a preset's own header load: places of files, and what the paper has instead."""
    for name in preset_names():
        if name.partition("/")[0] not in SYSTEMS:
            continue
        overrides = re.findall(r"--set ([\w.]+=\S+)", header_of(name))
        config = load(name, overrides=overrides)
        assert config.corpus.videos == "VIDEOS", name
        assert config.model.weights.removesuffix(".pt").replace("B-", "B/") == (
            config.model.architecture
        ), name
        validate_options(config.model.family, config.model.options)


@pytest.mark.parametrize("name", PUBLISHED_PRESETS)
def test_says_where_it_is_from(name):
    config, header = load(name), header_of(name)
    system, _, rest = name.partition("/")
    evaluate = config.evaluate
    assert config.model.family == system
    assert "Original:" in header
    assert all(METRIC.fullmatch(metric) for metric in evaluate.published)
    assert bool(evaluate.published) == bool(evaluate.published_source)
    if evaluate.published:
        assert "t2v/R@1" in evaluate.published
        assert "specs/" in evaluate.published_source
    else:
        assert "[unverified]" in header, "without a number the header says that none was traced"
    dataset = rest.partition("-")[0]
    kind = config.corpus.kind
    assert kind == dataset or (kind, dataset) == ("adaclip", "didemo")
    assert ("test split" in header or "on the test" in header) == (
        config.train.selection_split == "test"
    )
    assert config.model.architecture.replace("/", "-").lower() in name


@pytest.mark.parametrize("name", [n for n in preset_names() if n.partition("/")[0] in SYSTEMS])
def test_says_what_is_drawn_anew_each_epoch(name):
    config, header = load(name), header_of(name)
    said = header.partition("Drawn anew each epoch: ")[2]
    assert said.startswith("the order of pairs")
    options = validate_options(config.model.family, config.model.options)
    noise = ("dropout", "noise of the policy", "noise of the selection")
    assert options.draws_noise == any(words in said for words in noise)
    assert ("one caption of each video" in said) == (config.train.captions == "one_per_video")
    assert ("where frames lie" in said) == (config.model.family == "clip2video")
    assert config.model.train_frame_draw == "none"
    assert config.model.train_frame_order == config.model.eval_frame_order == "ordinary"


def test_adaclip_says_which_files_it_needs():
    for name in PUBLISHED_PRESETS:
        config, header = load(name), header_of(name)
        needed = config.model.policy_weights
        assert (needed is not None) == (config.model.family == "adaclip"), name
        if needed:
            network = NETWORKS[config.model.options["policy"]]
            assert needed == network.published
            assert f"--set model.policy_weights={needed}" in header
            assert "stops before it decodes" in header


@pytest.mark.parametrize("name", PUBLISHED_PRESETS)
def test_trains_as_the_originals(name):
    config = load(name)
    train = config.train
    if config.model.family == "xpool":
        assert (train.precision, train.optimizer) == ("fp32", "transformers_adamw")
        assert (train.schedule, train.freeze_layers, train.processes) == ("rebased_cosine", -1, 1)
        assert train.learning_rate * train.clip_rate_factor == pytest.approx(1e-6)
        return
    assert (train.precision, train.gradient_scaling) == ("legacy_fp16", "legacy")
    assert (train.optimizer, train.schedule, train.freeze_layers) == (
        "bert_adam",
        "warmup_cosine",
        -1 if config.model.family == "drl" else 0,
    )
    assert train.batch_size >= train.processes


def test_selection_on_test_where_the_original_has_nothing_else_or_does_so():
    """A validation split is chosen only where the reader has one."""
    for name in PUBLISHED_PRESETS:
        config = load(name)
        system = config.model.family
        splits = PUBLISHED.get((config.corpus.kind, config.corpus.protocol), {"val": None})
        has_val = "val" in splits or config.corpus.protocol == "random1k5"  # made of what is left
        on_test = ("clip4clip", "xpool", "ts2net", "drl", "ucofia")
        wanted = "val" if has_val and system not in on_test else "test"
        assert config.train.selection_split == wanted, name


def test_presets_of_a_corpus_share_their_frames():
    """One 1 fps artifact a corpus serves CLIP4Clip and X-CLIP in all their variants."""
    frames = {}
    for name in PUBLISHED_PRESETS:
        config = load(name)
        if config.model.family in ("clip4clip", "xclip"):
            settings = config.extract.model_dump_json()
            frames.setdefault(config.corpus.kind, set()).add(settings)
    assert set(frames) == {"msrvtt", "msvd", "lsmdc", "didemo", "activitynet"}
    assert {kind for kind, settings in frames.items() if len(settings) != 1} == set()
    short = {next(iter(frames[kind])) for kind in ("msrvtt", "msvd", "lsmdc", "didemo")}
    assert len(short) == 1


def test_no_number_is_inherited():
    """Published numbers stand in the preset itself: merging would mix two papers' columns."""
    for name in PUBLISHED_PRESETS:
        own = yaml.safe_load((PRESET_DIR / f"{name}.yaml").read_text(encoding="utf-8"))
        assert own.get("evaluate", {}).get("published", {}) == load(name).evaluate.published


def test_every_variant_can_be_built():
    """The models' own checks of options against sizes, on towers of one layer without memory."""
    seen = set()
    for name in preset_names():
        model = load(name).model
        key = json.dumps(model.model_dump(exclude={"weights"}), sort_keys=True)
        if key in seen:
            continue
        seen.add(key)
        sizes = dataclasses.replace(
            architecture(model.architecture), vision_layers=1, text_layers=1
        )
        with torch.device("meta"):
            built = build(
                model.family,
                options=model.options,
                architecture=sizes,
                max_words=model.max_words,
                max_frames=model.max_frames,
            )
        assert built.max_frames == model.max_frames
    assert len(seen) > 20


def test_the_page_lists_them_all():
    """docs/benchmarks.md: the table is what the presets say."""
    page = (PRESET_DIR.resolve().parents[1] / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `(\S+/\S+)` \| (\S+) \| (\S+) \|", page, re.MULTILINE)
    expected = []
    for name in PUBLISHED_PRESETS:
        published = load(name).evaluate.published
        numbers = [published.get(f"{direction}/R@1") for direction in ("t2v", "v2t")]
        expected.append((name, *("-" if n is None else f"{n:.1f}" for n in numbers)))
    assert listed == expected
