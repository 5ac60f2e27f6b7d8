"""docs/tables.md: its cells run in order, and each tool sees the rows that are in force."""

import re
from pathlib import Path

import pytest

import reelvec

PAGE = (Path(__file__).parents[2] / "docs" / "tables.md").read_text("utf-8")
CELL = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
CELLS = {
    section.partition("\n")[0]: cell
    for section in re.split(r"^## ", PAGE, flags=re.MULTILINE)
    for cell in CELL.findall(section)
}


def test_the_cells_run(real_store, tmp_path, monkeypatch, capsys):
    for package in ("pandas", "polars", "duckdb", "lancedb"):
        pytest.importorskip(package)
    (tmp_path / "reelvec-store").symlink_to(real_store.store)
    monkeypatch.chdir(tmp_path)
    names, printed = {}, {}
    for tool, cell in CELLS.items():
        exec(compile(cell, tool, "exec"), names)  # noqa: S102 - our own page
        printed[tool] = capsys.readouterr().out
    assert list(printed) == ["pandas", "Polars", "DuckDB", "LanceDB"]

    run = reelvec.open(real_store.store).run()
    splits = run.videos.arrow(["split"]).column("split").to_pylist()
    for split in set(splits):
        assert re.search(rf"{split}\D+{splits.count(split)}\b", printed["pandas"])
        assert re.search(rf"{split}\D+{splits.count(split)}\b", printed["DuckDB"])
    assert len(names["captions"]) == len(run.captions) and "video_id" in printed["Polars"]
    nearest = [line.split() for line in printed["LanceDB"].splitlines()]
    expected = run.search("a red circle", top=3)
    assert [name for name, _ in nearest] == [row.video_id for row in expected]
    assert [float(s) for _, s in nearest] == pytest.approx([row.score for row in expected])
