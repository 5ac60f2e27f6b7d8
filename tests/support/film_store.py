"""A small store of a run that cut drawn films into windows; its model is not trained."""

from reelvec.configs import PipelineConfig
from tests.drills.bitflips import run_again


def film_config(store, *, corpus=None, **settings):
    """Three short films of three events each, of which one tests; windows that overlap by half."""
    return PipelineConfig.model_validate(
        {
            "name": "films",
            "store": str(store),
            "corpus": {
                "kind": "films",
                "videos": 3,
                "events": 3,
                "fps": 2,
                "windows": {"seconds": 4, "stride": 2},
            }
            if corpus is None
            else corpus,
            "extract": {"size": 64, "sampling": {"rate": 2.0}},
            "model": {"family": "frozen", "max_frames": 3},
            "train": {"epochs": 0},
            "evaluate": {"bootstrap": 20},
        }
        | settings
    )


def make_film_store(folder):
    """Its configuration."""
    config = film_config(folder / "store")
    run_again(config)
    return config
