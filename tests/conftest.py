"""Guards every test passes through, and the one Prefect server of a session."""

import os
import random
import tempfile

import pytest

# Before anything imports Prefect: no test touches the person's own Prefect home or server.
os.environ["PREFECT_HOME"] = tempfile.mkdtemp(prefix="reelvec-prefect-")
os.environ["PREFECT_LOGGING_LEVEL"] = "ERROR"
os.environ["PREFECT_SERVER_LOGGING_LEVEL"] = "ERROR"
os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"
os.environ.pop("PREFECT_API_URL", None)
os.environ.pop("REELVEC_STORE", None)


@pytest.fixture(autouse=True)
def _same_randomness():
    """Each test starts from the same seeds and leaves the generators as it found them."""
    import numpy as np
    import torch

    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    threads = torch.get_num_threads()
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    yield
    random.setstate(states[0])
    np.random.set_state(states[1])
    torch.set_rng_state(states[2])
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def server_of_session():
    """The address of an embedded Prefect server (~10 s to start), which nothing is set to use."""
    from prefect.settings import PREFECT_API_URL, temporary_settings
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=600):
        url = PREFECT_API_URL.value()
        with temporary_settings(restore_defaults={PREFECT_API_URL}):
            yield url


@pytest.fixture(scope="module")
def prefect_server(server_of_session):
    """The session's Prefect server, for the modules that ask for it and for no other.

    With it `launch` runs flows; a test that is silent runs alone, whichever module ran before it.
    """
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with temporary_settings({PREFECT_API_URL: server_of_session}):
        yield


@pytest.fixture(scope="session")
def real_store(tmp_path_factory):
    """A store to look at, never to write in: tests.support.real_store."""
    from tests.support.real_store import make_real_store

    return make_real_store(tmp_path_factory.mktemp("real"))


@pytest.fixture(scope="session")
def film_store(tmp_path_factory):
    """The configuration of a store with windows, to look at: tests.support.film_store."""
    from tests.support.film_store import make_film_store

    return make_film_store(tmp_path_factory.mktemp("films"))
