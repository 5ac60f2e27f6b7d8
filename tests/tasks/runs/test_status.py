"""Identities shortened by a person: the one that is meant, or a list of those there are."""

import pytest

from reelvec.storage.commits.artifact import Artifact
from reelvec.storage.errors import MissingArtifactError, StoreError
from reelvec.storage.roots import open_root
from reelvec.tasks.runs.status import full_fingerprint

ONE, TWIN, OTHER = "abcdef" + "1" * 26, "abcdef" + "2" * 26, "0" * 32


@pytest.fixture
def store(tmp_path):
    root = open_root(tmp_path)
    for fingerprint in (ONE, TWIN, OTHER):
        root.put_new(f"frames/{fingerprint}/identity.json", b"{}")
    root.put_new(f"corpus/{'f' * 32}/identity.json", b"{}")
    assert len(Artifact.all(root)) == 4
    return str(tmp_path)


@pytest.mark.parametrize(
    ("prefix", "found"),
    [(ONE, ONE), ("abcdef2", TWIN), ("ABCDEF1", ONE), ("000000", OTHER), (" 0000000 ", OTHER)],
)
def test_enough_digits_name_one(store, prefix, found):
    assert full_fingerprint(store, kind="frames", prefix=prefix) == found


def test_several_and_none_name_the_candidates(store):
    with pytest.raises(StoreError, match=rf"\(abcdef\) may be any.*{ONE}, {TWIN}; give more"):
        full_fingerprint(store, kind="frames", prefix="abcdef")
    with pytest.raises(MissingArtifactError, match=rf"\(ffffff\); there are: {OTHER}, {ONE}"):
        full_fingerprint(store, kind="frames", prefix="ffffff")
    with pytest.raises(MissingArtifactError, match="there are: none"):
        full_fingerprint(store, kind="embeddings", prefix="ffffff")


@pytest.mark.parametrize("prefix", ["", "00000", "frames", "0x000000", "00000*"])
def test_too_few_digits_and_none_at_all_are_refused(store, prefix):
    with pytest.raises(StoreError, match="6 or more first hex digits"):
        full_fingerprint(store, kind="frames", prefix=prefix)
