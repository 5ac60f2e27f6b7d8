"""`reelvec` in this process, as a person types it."""

import sys

from reelvec.flows.cli import main


def typed(monkeypatch, capsys, *words):
    """`reelvec WORDS…`: (exit code, stdout, stderr); never a traceback, never a defect of ours."""
    monkeypatch.setattr(sys, "argv", ["reelvec", *map(str, words)])
    code = 0
    try:
        main()
    except SystemExit as stop:
        code = stop.code or 0
    out, err = capsys.readouterr()
    assert "Traceback" not in err and "internal error" not in err, err
    return code, out, err
