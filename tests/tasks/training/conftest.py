"""A store to train on, with towers small enough."""

import pytest

from reelvec.models.clip import architecture
from tests.tasks.training.builders import SMALL, make_store


@pytest.fixture
def small(monkeypatch, tmp_path):
    named = {**architecture.ARCHITECTURES, "tiny": SMALL}
    monkeypatch.setattr(architecture, "ARCHITECTURES", named)
    return make_store(tmp_path, epochs=3, videos=8, captions=1)
