"""The loader: strict, and every complaint names file, key and nearest valid key."""

import os
import re

import pytest

from reelvec.configs import ConfigError, load, preset_names
from reelvec.configs.presets import PRESET_DIR
from reelvec.configs.schema import FolderCorpus, PipelineConfig


def write(tmp_path, text):
    path = tmp_path / "run.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_defaults_of_an_empty_file(tmp_path):
    assert load(write(tmp_path, "")) == PipelineConfig()


def test_overrides_are_read_as_yaml(tmp_path):
    path = write(tmp_path, "train: {epochs: 1}")
    config = load(path, overrides=["train.epochs=3", "evaluate.rerank=[dual_softmax]", "name=x"])
    assert (config.train.epochs, config.evaluate.rerank, config.name) == (3, ("dual_softmax",), "x")


@pytest.mark.parametrize(("given", "split"), [("Test", "test"), (" VAL", "val"), ("Gold", "Gold")])
def test_the_split_that_is_scored_is_known_in_any_case(tmp_path, given, split):
    (tmp_path / "run.yaml").write_text(f"evaluate: {{split: '{given}'}}")
    assert load(tmp_path / "run.yaml").evaluate.split == split


def test_override_may_switch_the_corpus_kind(tmp_path):
    config = load(write(tmp_path, ""), overrides=["corpus.kind=folder", "corpus.videos=/videos"])
    assert config.corpus.videos == "/videos"


@pytest.mark.parametrize(
    ("text", "overrides", "parts"),
    [
        ("trian: {epochs: 1}", [], ["run.yaml", "(trian)", "(train)"]),
        ("train: {epoch: 1}", [], ["run.yaml", "(train.epoch)", "(epochs)"]),
        ("corpus: {kind: folder, videos: x, caption: y}", [], ["(corpus.caption)", "(captions)"]),
        ("corpus: {kind: folder}", [], ["(corpus.videos)", "missing"]),
        ("corpus: {kind: fold}", [], ["(corpus)", "kind must be one of 'folder'"]),
        ("corpus: {videos: x}", [], ["(corpus)", "kind is missing"]),
        ("", ["corpus.kind=fold"], ["(corpus) in --set"]),
        ("extract: {sampling: {polcy: all}}", [], ["(extract.sampling.polcy)", "(policy)"]),
        ("train: {lora: {ranks: 4}}", [], ["(train.lora.ranks)", "(rank)"]),
        ("", ["train.lora.targets=[q, in_proj]"], ["(train.lora.targets", "'in_proj'", "'c_fc'"]),
        ("", ["train.lora.targets=[]"], ["(train.lora.targets)", "must have at least 1"]),
        ("train: {epochs: many}", [], ["(train.epochs)", "'many'", "it must be a whole number"]),
        ("train: {epochs: -1}", [], ["(train.epochs)", "(-1): it must be at least 0"]),
        ("train: [5]", [], ["(train)", "it must be a group of keys"]),
        ("name: [a]", [], ["(name)", "it must be text"]),
        ("extract: {fit: x}", [], ["(extract.fit)", "it must be '"]),
        ("evaluate: {published: {a: b}}", [], ["(evaluate.published.a)", "it must be a number"]),
        ("", ["train.epocs=3"], ["--set", "(train.epocs)", "(epochs)"]),
        ("", ["train.epochs"], ["--set", "key=value"]),
        ("train: 3", ["train.epochs=3"], ["(train)", "not a group"]),
        ("[1, 2]", [], ["run.yaml", "list"]),
        ("name: a\nname: b", [], ["(name)", "twice", "line 2"]),
        ("a: b: c", [], ["run.yaml", "not valid YAML"]),
        ("name: [mine\n", [], ["not valid YAML: line 2, column 1: expected ',' or ']'"]),
        ("name: a\0", [], ["not valid YAML", "position 7"]),
        ("", ["name=[mine"], ["--set (name=[mine): line 1, column 6: expected ',' or ']'"]),
    ],
)
def test_complaints_name_file_key_and_nearest(tmp_path, text, overrides, parts):
    with pytest.raises(ConfigError) as caught:
        load(write(tmp_path, text), overrides=overrides)
    for part in parts:
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_preset_is_named_as_a_preset_and_not_among_seventy():
    with pytest.raises(ConfigError, match=r"did you mean \(demo\)\? `reelvec presets` lists"):
        load("dem")
    with pytest.raises(ConfigError, match=r"\(nothing-near\); `reelvec presets` lists") as caught:
        load("nothing-near")
    assert len(str(caught.value)) < 200


def test_yaml_cannot_execute_code(tmp_path):
    path = write(tmp_path, "name: !!python/object/apply:os.system ['touch pwned']")
    with pytest.raises(ConfigError, match="not valid YAML"):
        load(path)


def test_a_run_may_start_from_a_preset(tmp_path):
    path = write(tmp_path, "{preset: demo, name: mine, train: {epochs: 2}}")
    config, demo = load(path), load("demo")
    assert config.name == "mine"
    assert config.train == demo.train.model_copy(update={"epochs": 2})
    assert config.extract == demo.extract
    assert PipelineConfig.model_validate(config.model_dump()) == config


def test_another_kind_of_corpus_replaces_that_of_the_preset(tmp_path):
    path = write(tmp_path, "{preset: demo, corpus: {kind: folder, videos: x}}")
    assert load(path).corpus == FolderCorpus(videos="x")


def test_unknown_preset_in_a_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match="dmeo"):
        load(write(tmp_path, "preset: dmeo"))


def test_missing_file_and_unknown_preset():
    with pytest.raises(ConfigError, match="cannot read"):
        load("/nowhere/run.yaml")
    with pytest.raises(ConfigError, match=re.escape("did you mean (demo)?")):
        load("dmeo")


def test_every_preset_loads_and_opens_with_its_command():
    names = preset_names()
    assert len(names) == sum(1 for _ in PRESET_DIR.rglob("*.yaml"))
    assert "demo" in names
    for name in names:
        load(name)
        assert f"reelvec run {name}" in (PRESET_DIR / f"{name}.yaml").read_text() or name == "demo"


def test_every_option_is_documented():
    undocumented = [
        f"{owner.__name__}.{name}"
        for owner in _classes(PipelineConfig)
        for name, field in owner.model_fields.items()
        if not field.description and name != "kind"
    ]
    assert undocumented == []


def _classes(owner):
    from pydantic import BaseModel

    found = [owner]
    for field in owner.model_fields.values():
        for candidate in [field.annotation, *getattr(field.annotation, "__args__", ())]:
            if isinstance(candidate, type) and issubclass(candidate, BaseModel):
                found += _classes(candidate)
    return found


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{chr(n)}: &{chr(n)} [{', '.join(['*' + chr(n - 1)] * 9)}]\n" for n in range(98, 108)
)
MERGES = "a: &a {x: 1}\n" + "".join(
    f"{chr(n)}: &{chr(n)} {{<<: [{', '.join(['*' + chr(n - 1)] * 9)}]}}\n" for n in range(98, 108)
)
HOSTILE = {
    "aliases": (BOMB, "more than 20,000 keys and values"),
    "merges": (MERGES, "more than 20,000 keys and values"),
    "itself": ("a: &a [*a]", "holds itself"),
    "itself, a mapping": ("a: &a {b: *a}", "holds itself"),
    "deep": ("[" * 3000, "nested too deeply"),
    "deep, in blocks": ("- " * 3000 + "x", "nested too deeply"),
    "digits": (f"seed: {'9' * 5000}", "beyond 64 bits"),
    "hexadecimal": (f"seed: 0x{'f' * 5000}", "beyond 64 bits"),
    "20 digits": (f"seed: {'9' * 20}", "beyond 64 bits"),
    "base 60": (f"seed: {'1' + ':1' * 30}", "beyond 64 bits"),
    "base 60, broken": (f"rate: {'1' + ':1' * 3000}.5", "does not fit its tag"),
    "tag and value": ("seed: !!int x", "does not fit its tag"),
    "no digits": ("seed: !!int ''", "does not fit its tag"),
    "no date": ("seed: !!timestamp x", "does not fit its tag"),
    "no such day": ("seed: !!timestamp 2026-02-30", "does not fit its tag"),
    "no truth": ("seed: !!bool x", "does not fit its tag"),
    "keys": ("{[a]: b}", "a key is text"),
    "keys, mappings": ("? {a: b}\n: c", "a key is text"),
    "set": ("seed: !!set [a]", "not valid YAML"),
    "zero byte": ('store: "a\\0b"', "holds a zero byte"),
    "half a pair": ('store: "\\ud800"', "half a surrogate pair"),
    "a raw zero byte": ("store: a\0b", "not valid YAML"),
    "a large text": ("#" * 200_000, "131,072 are read at most"),
    "a large key": ("? " + "k" * 100_000 + "\n: 1", "unknown key (kkkk"),
    "a large value": ("train: {epochs: " + "v" * 100_000 + "}", "(train.epochs)"),
    "a day": ("train: {epochs: 2026-02-30}", "(train.epochs) in"),
    "a day as a name": ("name: [2026-02-30]", "['2026-02-30']"),
    "nobody's home": ("corpus: {kind: folder, videos: ~nobody-of-this-name/x}", "no such path"),
    "no share": ("corpus: {kind: folder, videos: x, splits: {test: .nan}}", "sum to 1"),
    "endless": ("corpus: {kind: synthetic, seconds: .inf}", "(corpus.seconds)"),
    "two documents": ("a: 1\n---\nb: 2", "not valid YAML"),
}


@pytest.mark.parametrize(("text", "message"), HOSTILE.values(), ids=HOSTILE)
def test_no_text_hangs_or_is_a_traceback(tmp_path, text, message):
    with pytest.raises(ConfigError) as caught:
        load(write(tmp_path, text))
    assert message in str(caught.value)
    assert len(str(caught.value)) < 1500


def test_days_are_text_and_anchors_are_allowed(tmp_path):
    text = "name: 2026-02-30\nnotes: &n 2026-01-01\nstore: *n\ntrain: {epochs: 3}"
    config = load(write(tmp_path, text))
    assert (config.name, config.notes, config.store) == ("2026-02-30", "2026-01-01", "2026-01-01")


def test_pipes_devices_and_folders_are_no_config(tmp_path):
    pipe, folder, device = (tmp_path / f"{name}.yaml" for name in ("pipe", "folder", "device"))
    os.mkfifo(pipe)
    folder.mkdir()
    device.symlink_to("/dev/zero")
    for path in (pipe, folder, device):
        with pytest.raises(ConfigError, match="no regular file"):
            load(path)
    with pytest.raises(ConfigError, match=r"null (byte|character)"):
        load("a\0.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"name: caf\xe9")
    with pytest.raises(ConfigError, match="not valid YAML"):
        load(tmp_path / "latin.yaml")
