"""The benchmarks that use one another's parts still run; their numbers are no matter here."""

import pytest

from tests.benchmarks import extraction
from tests.support import media


@pytest.mark.parametrize("has_cv2", [True, False])
def test_extraction_prints_its_table(has_cv2, monkeypatch, capsys):
    if has_cv2:
        pytest.importorskip("cv2")
    path = media.video("h264_mp4")
    monkeypatch.setattr(extraction, "HAS_CV2", has_cv2)
    monkeypatch.setattr(extraction, "ROUNDS", 1)
    monkeypatch.setattr(extraction, "corpus", lambda _: ("file", [path]))
    extraction.main()
    rows = capsys.readouterr().out.splitlines()[2:]
    assert [row.split()[-3] for row in rows] == ["6"] * 4  # one frame a second, each way
