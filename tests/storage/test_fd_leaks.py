"""The guard of tests/storage/conftest.py sees what it is for."""

import socket

from tests.storage.conftest import open_files


def test_an_open_file_is_seen(tmp_path):
    before = open_files()
    with (tmp_path / "part").open("w"), socket.socket():
        new = [target for fd, target in open_files().items() if fd not in before]
        assert any(target.endswith("/part") for target in new)
        assert any(target.startswith("socket:") for target in new)
    assert open_files() == before
