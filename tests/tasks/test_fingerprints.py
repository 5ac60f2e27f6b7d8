"""Fingerprints that stores carry already: none of them may change by accident.

    python -m tests.tasks.test_fingerprints > tests/resources/vectors/fingerprints.json

A difference means that every store made so far is made anew by its next run. Where that is meant,
because the same settings give other results, raise the recipe number in reelvec/tasks/identity.py
(training: reelvec/tasks/training/identity.py) and write the file anew; else undo the change.
"""

import json
from pathlib import Path

import pytest

from reelvec.configs import PipelineConfig
from reelvec.configs.corpora import DRAWN
from reelvec.configs.presets import preset_names, read_preset
from reelvec.models.registry import FAMILIES, family_class
from tests.support.run_identities import fingerprints

GOLDEN = Path(__file__).parents[1] / "resources" / "vectors" / "fingerprints.json"
PATHS = {"videos": "/videos", "annotations": "/annotations", "captions": "/captions.csv"}


def of_preset(name):
    """Fingerprints of a preset's run, with paths that are the same on every machine."""
    given = read_preset(name)
    corpus = {"kind": "folder", "videos": "/videos"} | given.get("corpus", {})
    if corpus["kind"] not in DRAWN:
        corpus = {key: PATHS.get(key, value) for key, value in corpus.items()}
        if corpus["kind"] != "folder":
            corpus["annotations"] = PATHS["annotations"]
    config = PipelineConfig.model_validate(given | {"corpus": corpus})
    return fingerprints(config, start="a hash" if config.model.weights else None)


def defaults():
    """Options that a config may leave out, and so identities too: their defaults count."""
    found = {}
    for family in FAMILIES:
        options = family_class(family).options_class
        found[family] = options().model_dump(mode="json")
    return found


def now():
    return {"presets": {n: of_preset(n) for n in preset_names()}, "defaults": defaults()}


def golden():
    return json.loads(GOLDEN.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", sorted(golden()["presets"]) if GOLDEN.exists() else [])
def test_presets_have_the_fingerprints_stores_carry(name):
    assert of_preset(name) == golden()["presets"][name]


def test_every_preset_is_held():
    assert preset_names() == sorted(golden()["presets"])


def test_options_left_out_mean_what_they_meant():
    """A default that changes gives identities another meaning: raise the recipe, or keep it."""
    held = golden()["defaults"]
    found = defaults()
    assert found.keys() == held.keys()
    for family in held:
        assert found[family] == held[family], family


if __name__ == "__main__":
    print(json.dumps(now(), indent=1, sort_keys=True))
