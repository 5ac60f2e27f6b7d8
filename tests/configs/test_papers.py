"""configs/papers.yaml: what docs/papers-order.md compares, each pair alike in all but the model."""

from pathlib import Path

import numpy as np
import pytest

from reelvec.configs import PipelineConfig
from reelvec.configs.sweeps import load_sweep
from reelvec.tasks.artifacts import Session
from reelvec.tasks.runs.preflight import checked_config
from reelvec.tasks.runs.rehearsal import rehearse_corpus
from reelvec.tasks.runs.settled import choose_stages
from tests.papers_table import SWEEP, macs_per_video, mean_and_interval

PAIRS = [
    ("order-meanP", "order-seqTransf"),
    ("motion-none", "motion-TDB"),
    ("details-single", "details-xclip"),
    ("moments-uniform", "moments-all"),
    ("moments-all", "moments-adaclip"),
]


@pytest.fixture(scope="module")
def configs(tmp_path_factory):
    """Configurations by preset, of the first seed; every run is rehearsed, none is begun."""
    store = tmp_path_factory.mktemp("papers") / "store"
    sweep = load_sweep(SWEEP, store=str(store))
    assert len(sweep.runs) == 27
    found = {}
    for one in sweep.runs:
        rehearse_corpus(Session(checked_config(one.config)), stages=choose_stages(None))
        found.setdefault(str(one.values["preset"]).removeprefix("papers/"), one.config)
    return found


def all_but_the_model(config: PipelineConfig):
    return config.model_dump(exclude={"name", "preset", "model"}), config.model.architecture


@pytest.mark.parametrize(("plain", "better"), PAIRS, ids=[better for _, better in PAIRS])
def test_what_is_compared_differs_in_the_model_alone(configs, plain, better):
    assert all_but_the_model(configs[plain]) == all_but_the_model(configs[better])
    assert configs[plain].model != configs[better].model


def test_adaclip_spends_what_three_frames_cost_and_a_little(configs):
    macs = {name: macs_per_video(configs[name]) for name in configs if "moments" in name}
    assert configs["moments-adaclip"].model.options["top_k"] == 3
    assert configs["moments-uniform"].model.max_frames == 3
    assert macs["moments-all"] == 4 * macs["moments-uniform"]
    assert macs["moments-uniform"] < macs["moments-adaclip"] < 0.6 * macs["moments-all"]


def test_the_interval_is_over_queries_and_over_seeds():
    rng = np.random.default_rng(0)
    alike = np.repeat(rng.random((1, 400)) < 0.5, 3, axis=0)
    apart = np.stack([rng.random(400) < share for share in (0.3, 0.5, 0.7)])
    widths = [high - low for _, low, high in map(mean_and_interval, (alike, apart))]
    assert 8 < widths[0] < 12  # of one binomial of 400
    assert widths[1] > 20  # seeds that differ by 20 points


def test_the_page_names_the_command_and_every_model():
    page = (Path(__file__).parents[2] / "docs/papers-order.md").read_text(encoding="utf-8")
    assert "reelvec sweep configs/papers.yaml" in page
    for name in {name for pair in PAIRS for name in pair}:
        assert f"| {name} |" in page
