"""Paths in corpus options: typed as such, made absolute for identities, otherwise as given."""

from typing import get_args, get_origin, get_type_hints

import pytest
import yaml
from pydantic import TypeAdapter

from reelvec.configs import PipelineConfig
from reelvec.configs.corpora import CorpusConfig, LocalPath, PathOrUri, anchored
from reelvec.configs.schema import FolderCorpus
from reelvec.configs.uris import checked_uri
from reelvec.storage.layout import fingerprint
from reelvec.tasks.identity import corpus_identity

PATHS = (LocalPath, PathOrUri)
CLASSES = get_args(get_args(CorpusConfig)[0])
NO_PATHS = {"about", "columns", "codecs", "protocol"}
"""Options that hold text and are no path. A new one is either here or of type LocalPath."""
NEEDED = {
    "BenchmarkCorpus": {"kind": "msvd"},
    "StoryCorpus": {"kind": "stories", "about": "order"},
    "FilmCorpus": {"kind": "films"},
}


def holds(annotation, wanted):
    """Whether a value of that type may hold one of type `wanted`; names in a dict do not count."""
    if annotation == wanted:
        return True
    inner = () if annotation in PATHS else get_args(annotation)
    return any(holds(part, wanted) for part in inner[get_origin(annotation) is dict :])


def options(cls, wanted):
    hints = get_type_hints(cls, include_extras=True)
    return {name: hints[name] for name in cls.model_fields if holds(hints[name], wanted)}


def paths(cls):
    return options(cls, LocalPath) | options(cls, PathOrUri)


def made(cls, **given):
    needed = {name: "/somewhere" for name in paths(cls) if cls.model_fields[name].is_required()}
    return cls(**needed | NEEDED.get(cls.__name__, {}) | given)


@pytest.mark.parametrize("cls", CLASSES)
def test_text_is_a_path_or_known_to_be_none(cls):
    assert set(options(cls, str)) <= NO_PATHS, "give it the type LocalPath, or name it in NO_PATHS"


@pytest.mark.parametrize("cls", CLASSES)
def test_relative_paths_are_anchored_and_nothing_else_changes(cls, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/someone")
    as_given = {"a/../b": str(tmp_path / "b"), "~/c": "/home/someone/c", "/d": "/d"}
    for name, annotation in paths(cls).items():
        for given, expected in as_given.items():
            corpus = made(cls, **{name: given})
            assert getattr(corpus, name) == given, "a config shows what its writer wrote"
            assert anchored(corpus) == made(cls, **{name: expected})
            assert type(anchored(corpus)) is cls
            if any(holds(annotation, dict[str, kind]) for kind in PATHS):
                several = made(cls, **{name: {"train": given}})
                assert getattr(anchored(several), name) == {"train": expected}
    assert anchored(made(cls)) == made(cls)


def test_an_address_stays_one_and_only_a_folder_takes_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    uri = "s3://bucket/prefix"
    corpus = FolderCorpus(videos=f"{uri}/", captions={"train": f"{uri}/a.csv"})
    assert anchored(corpus) == FolderCorpus(videos=uri, captions={"train": f"{uri}/a.csv"})
    for cls, name in ((c, n) for c in CLASSES for n in options(c, LocalPath)):
        with pytest.raises(ValueError, match="of corpora only"):
            made(cls, **{name: uri})


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("ftp://host/videos", "of no scheme that is read: s3://"),
        ("s3://", "names no bucket"),
        ("s3:///prefix", "names no bucket"),
        ("s3://b/a/../c", r"has '\.\.'"),
        ("s3://b/a//c", "empty parts"),
        ("https://me:secret@host/videos", "holds credentials"),
        ("https://host/videos?signature=1", "has a query"),
    ],
)
def test_an_address_that_cannot_be_read_is_refused_without_its_secrets(uri, words):
    with pytest.raises(ValueError, match=words) as refused:
        checked_uri(uri)
    assert "secret" not in str(refused.value) and "signature=1" not in str(refused.value)


def test_identities_are_those_of_existing_stores(tmp_path, monkeypatch):
    """Fingerprints of folders in stores that people have; written down before LocalPath was."""
    monkeypatch.chdir("/")
    known = {
        "{kind: folder, videos: v, captions: {a: b, c: /d}}": "00187d96a2612c615d064354ebc66c72",
        "{kind: msvd, videos: v, annotations: a}": "c7fe2209473cee1660c7e67469b72a73",
        "{kind: synthetic, videos: 24}": "58e23ee083b3c9e819bb758e325b7655",
    }
    for text, expected in known.items():
        corpus = TypeAdapter(CorpusConfig).validate_python(yaml.safe_load(text))
        config = PipelineConfig(corpus=corpus)
        assert fingerprint(corpus_identity(config)) == expected
