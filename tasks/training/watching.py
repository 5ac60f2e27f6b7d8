"""Who watches a training: functions that are called with plain records, as steps are taken.

`train.watch` names them: `tensorboard`, or `package.module:function`. They are called in the
process that runs the stage, never in one that trains, so that what they do costs no step; one that
raises is said once and not called again.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from reelvec.configs import ConfigError
from reelvec.tasks.artifacts import Session
from reelvec.tasks.training.supervisor import OnProgress

__all__ = ["check_watchers", "watched"]

Watcher = Callable[[Mapping[str, Any]], None]
"""Is called with a record: `event`, and beside it

start: run, config, checkpoint (the artifact's fingerprint), step (that it goes on from), steps,
    epochs, items, device, processes;
step: step, epoch, loss, grad_norm, lr_<part> …, seconds;
epoch: epoch, step, loss, lr, R@1 … of the selection split, best_epoch, stopped;
end: error (empty: it was trained to its end).
"""

TENSORBOARD = "tensorboard"
_PASSED_ON = {"start": "start", "point": "step", "epoch": "epoch"}


def check_watchers(names: tuple[str, ...]) -> None:
    """Check that each can be found, before hours of work.

    Raises:
        ConfigError: no such module or function, or the package is not installed.
    """
    for name in names:
        _find(name)


def _find(name: str) -> Watcher | None:
    """The function of that name; None: TensorBoard's, which needs a folder."""
    if name == TENSORBOARD:
        _check_tensorboard()
        return None
    module, colon, function = name.partition(":")
    if not (module and colon and function):
        raise ConfigError(
            f"train.watch names ({name}); give {TENSORBOARD}, or package.module:function",
            key="train.watch",
        )
    try:
        found = getattr(importlib.import_module(module), function)
    except Exception as error:
        raise ConfigError(
            f"train.watch: ({name}) cannot be imported: {type(error).__name__}: {error}; its folder"
            " must be on PYTHONPATH, or the package installed",
            key="train.watch",
        ) from error
    if not callable(found):
        raise ConfigError(f"train.watch: ({name}) is no function", key="train.watch")
    watcher: Watcher = found
    return watcher


def _check_tensorboard() -> None:
    if importlib.util.find_spec("tensorboard") is None:
        raise ConfigError(
            "train.watch names (tensorboard), which is not installed; pip install"
            " 'reelvec[tensorboard]', or take it out of train.watch",
            key="train.watch",
        )


class watched:
    """Passes the events of one training on to who watches it, and to `on_progress`.

    Args:
        session: of the run; TensorBoard's files are written beside its logs.
        checkpoint: fingerprint of the artifact that is trained into.
        on_progress: hears every event, and is told what went wrong with a watcher.
    """

    def __init__(self, session: Session, checkpoint: str, *, on_progress: OnProgress) -> None:
        self._config = config = session.config
        self._checkpoint = checkpoint
        self._on_progress = on_progress
        self._watchers = {name: _find(name) for name in config.train.watch}
        self._folder = session.root.local_folder / "logs" / TENSORBOARD / checkpoint

    def __enter__(self) -> OnProgress:
        if TENSORBOARD in self._watchers:
            from reelvec.tasks.training.event_files import TensorBoard

            self._watchers[TENSORBOARD] = TensorBoard(self._folder)
        return self._hear

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        words = f"{type(error).__name__}: {error}" if error is not None else ""
        self._tell({"event": "end", "error": words})

    def _hear(self, event: Mapping[str, Any]) -> None:
        name = _PASSED_ON.get(event["event"])
        if name is not None and self._watchers:
            record = {**event, "event": name}
            if name == "start":
                config = self._config.model_dump(mode="json")
                record |= {"run": self._config.name, "checkpoint": self._checkpoint}
                record |= {"config": config}
            self._tell(record)
        self._on_progress(dict(event))

    def _tell(self, record: Mapping[str, Any]) -> None:
        for name, watcher in list(self._watchers.items()):
            try:
                if watcher is not None:
                    watcher(dict(record))
            except Exception as error:  # noqa: BLE001 - whatever others do, training goes on
                del self._watchers[name]
                words = f"{type(error).__name__}: {error}"
                text = f"{name} failed and is not told any more ({words}); training goes on"
                with suppress(Exception):
                    self._on_progress({"event": "note", "text": text})
