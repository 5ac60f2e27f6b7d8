"""The forms of the deployments: what a person may give, each field declared once.

Prefect's UI draws a form from a flow's signature and posts every field of it, touched or not. So a
field left alone says nothing: a text or a choice is then empty, a number None, and the preset's
value stays. Fields are flat, since Prefect merges what is given over a deployment's own parameters
at the top level alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import StringConstraints, WithJsonSchema

from reelvec.configs import ConfigError, PipelineConfig
from reelvec.configs.corpora import DRAWN, Options
from reelvec.configs.loader import require_corpus, validate
from reelvec.configs.presets import merge, preset_names, read_preset, read_yaml
from reelvec.storage.reasons import Reason

__all__ = ["ReembedForm", "RetryForm", "RunForm"]

Text = Annotated[str, StringConstraints(strip_whitespace=True)]
PresetName = Annotated[Text, WithJsonSchema({"type": "string", "enum": preset_names()})]
ReasonName = Annotated[
    Text, WithJsonSchema({"type": "string", "enum": [str(r) for r in Reason if r]})
]

_KEYS = {
    "epochs": ("train.epochs",),
    "batch_size": ("train.batch_size",),
    "max_frames": ("model.max_frames",),
    "frame_size": ("extract.size",),
    "device": ("train.device", "embed.device"),
    "runner": ("runner",),
}
"""Fields of a run's form that stand for keys of the configuration."""


class RunForm(Options):
    """Run the pipeline from a preset; what is left empty is as the preset has it."""

    preset: PresetName
    """Ready-made run to start from."""
    store: Text = ""
    """Root of the store: a folder (a relative one lies in the worker's), or s3://bucket/prefix."""
    videos: Text = ""
    """Folder of the videos, on the worker's machine."""
    captions: Text = ""
    """File of the captions; for a benchmark the folder of its annotation files."""
    weights: Text = ""
    """Archive or checkpoint to start from (model.weights)."""
    epochs: int | None = None
    """Passes over the training captions; 0 keeps the starting weights (train.epochs)."""
    batch_size: int | None = None
    """Pairs in a training batch (train.batch_size)."""
    max_frames: int | None = None
    """Frames a video that the model sees at most (model.max_frames)."""
    frame_size: int | None = None
    """Width and height of a frame, pixels, as the weights ask: 224 for CLIP (extract.size)."""
    device: Literal["", "auto", "cpu", "cuda"] = ""
    """Where training and embedding compute; auto: on a GPU where there is one."""
    runner: Literal["", "threads", "dask"] = ""
    """Where shards are worked on: threads of the worker's machine, or a Dask cluster."""
    set: tuple[Text, ...] = ()
    """Any other key as key=value, as after --set, e.g. train.learning_rate=0.001."""
    config_file: Text = ""
    """YAML file on the worker's machine, as for `reelvec run FILE`; instead of the preset."""
    accept_losses: bool = False
    """Let tables lose usable rows beyond max_lost_fraction."""
    rehash: bool = False
    """Read every video's bytes again, though its file looks as it did."""

    def config(self) -> PipelineConfig:
        """The run this form describes.

        Raises:
            ConfigError: no such file or preset, or a value that cannot be.
        """
        source = self.config_file or self.preset
        start = self._start()
        given = {"store": self.store} if self.store else {}
        document = merge(start, given | self._model() | self._corpus(start))
        config = validate(document, source=source, overrides=[*self._named(), *self.set])
        return require_corpus(config, source=source)

    def _start(self) -> dict[str, Any]:
        """What the file or the preset says, the presets it starts from merged in."""
        if self.config_file:
            document = read_yaml(Path(self.config_file).expanduser())
        else:
            document = {"preset": self.preset}
        preset = document.get("preset")
        return merge(read_preset(str(preset)), document) if preset else document

    def _named(self) -> list[str]:
        """The fields that stand for keys, as overrides; those left alone are not among them."""
        values = {name: getattr(self, name) for name in _KEYS}
        return [
            f"{key}={value}"
            for name, value in values.items()
            if value not in (None, "")
            for key in _KEYS[name]
        ]

    def _model(self) -> dict[str, Any]:
        return {"model": {"weights": self.weights}} if self.weights else {}

    def _corpus(self, start: dict[str, Any]) -> dict[str, Any]:
        """`videos` and `captions` as keys of the corpus there is, or of a folder."""
        if not self.videos and not self.captions:
            return {}
        corpus = start.get("corpus")
        kind = corpus.get("kind", "folder") if isinstance(corpus, dict) else "folder"
        if kind in DRAWN:
            raise ConfigError(
                f"({self.config_file or self.preset}) draws its own videos, but videos"
                f" ({self.videos}) and captions ({self.captions}) are given; leave both empty, or"
                " choose another preset, e.g. folder",
                key="videos",
            )
        files = "captions" if kind == "folder" else "annotations"
        paths = {"videos": self.videos, files: self.captions}
        return {"corpus": {"kind": kind} | {key: path for key, path in paths.items() if path}}


class ReembedForm(Options):
    """Bring the tables of a store's runs up to date with their videos; nothing is trained."""

    store: Text = ""
    """Root of the store: a folder (a relative one lies in the worker's), or s3://bucket/prefix."""
    runs: tuple[Text, ...] = ()
    """Only the tables of these runs, by name; none: of every run that has tables."""
    dry_run: bool = False
    """Only say what would be done."""
    accept_losses: bool = False
    """Let tables lose usable rows beyond max_lost_fraction."""
    rehash: bool = False
    """Read every video's bytes again, though its file looks as it did."""


class RetryForm(Options):
    """Try the failed videos of a run again, then bring its tables up to date."""

    store: Text = ""
    """Root of the store: a folder (a relative one lies in the worker's), or s3://bucket/prefix."""
    run: Text = ""
    """Name of the run; empty: the last."""
    reasons: tuple[ReasonName, ...] = ()
    """Only videos that failed for these reasons; none: for any."""
    videos: tuple[Text, ...] = ()
    """Only these videos, by video_id; none: all that failed."""
    accept_losses: bool = False
    """Let tables lose usable rows beyond max_lost_fraction."""
    rehash: bool = False
    """Read every video's bytes again, though its file looks as it did."""
