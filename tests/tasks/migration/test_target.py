"""The config of a migration's new run."""

from reelvec.configs.loader import validate
from reelvec.storage.naming import ChosenRun
from reelvec.storage.roots import open_root
from reelvec.storage.runs import RunRecord
from reelvec.tasks.migration.target import target_config
from tests.support.migrating import save_weights


def test_what_the_preset_of_the_old_run_says_of_its_model_is_not_the_new_ones(tmp_path):
    corpus = {"kind": "folder", "videos": "talks", "captions": "talks/captions.csv"}
    old = validate({"preset": "folder", "name": "talks", "corpus": corpus}, source="a corpus' file")
    assert old.model.options == {"sim_header": "meanP"}
    record = RunRecord(name="talks", config=old.model_dump(mode="json"))
    weights = str(save_weights(tmp_path / "new.safetensors", seed=9))
    base, root = ChosenRun(record=record, as_ended=False), open_root(str(tmp_path / "store"))
    new = target_config(root, base, store=root.uri, weights=weights, name=None)
    assert new.name == "talks new" and new.model.family == "frozen" and not new.model.options
    assert new.corpus == old.corpus and new.extract == old.extract and new.train.epochs == 0
