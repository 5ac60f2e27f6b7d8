"""The forms of the deployments: what a person may give, each field declared once.

Prefect's UI draws a form from a flow's signature and posts every field of it, touched or not. So a
field left alone says nothing: a text or a choice is then empty, a number None, and the preset's
value stays. Fields are flat, since Prefect merges what is given over a deployment's own parameters
at the top level alone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, WithJsonSchema

from reelvec.configs import ConfigError, PipelineConfig
from reelvec.configs.corpora import DRAWN, Options
from reelvec.configs.loader import require_corpus, validate
from reelvec.configs.presets import merge, preset_names, read_preset, read_yaml
from reelvec.configs.schema import STAGES
from reelvec.storage.reasons import Reason
from reelvec.tasks.runs.recording import last_config

__all__ = [
    "CompactForm",
    "GcForm",
    "MigrateForm",
    "ReembedForm",
    "RetryForm",
    "RunForm",
    "StageForm",
    "TitledForm",
    "VerifyForm",
]

Text = Annotated[str, StringConstraints(strip_whitespace=True)]
PresetName = Annotated[Text, WithJsonSchema({"type": "string", "enum": preset_names()})]
AnyPresetName = Annotated[Text, WithJsonSchema({"type": "string", "enum": ["", *preset_names()]})]
StageName = Annotated[Text, WithJsonSchema({"type": "string", "enum": list(STAGES)})]
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


class TitledForm(Options, ABC):
    """A form that says what its run is called in the UI."""

    @property
    @abstractmethod
    def title(self) -> str:
        """A few words for a person."""


class RunForm(TitledForm):
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
    dry_run: bool = False
    """Only say what would be done, to which videos, and what it would take."""
    accept_losses: bool = False
    """Let tables lose usable rows beyond max_lost_fraction."""
    rehash: bool = False
    """Read every video's bytes again, though its file looks as it did."""

    @property
    def title(self) -> str:
        """What the run is called in the UI."""
        return Path(self.config_file).stem if self.config_file else self.preset

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


class StageForm(RunForm):
    """Run one stage of a run: of the store's last one where no other is named."""

    preset: AnyPresetName = ""
    """Ready-made run to start from; empty: a run of the store."""
    stage: StageName
    """What to do; evaluate draws the report too."""
    run: Text = ""
    """Name of the run of the store; empty: the last, where neither preset nor file is given."""

    @property
    def title(self) -> str:
        """What the run is called in the UI."""
        return f"{self.stage} {self.run or super().title or 'the last run'}"

    @property
    def stages(self) -> list[str]:
        """The stages to run, in pipeline order."""
        return [self.stage, *(["report"] if self.stage == "evaluate" else [])]

    def _start(self) -> dict[str, Any]:
        """What the file, the preset or the run says."""
        if self.preset or self.config_file:
            if self.run:
                raise ConfigError(
                    f"run ({self.run}) and ({self.config_file or self.preset}) both say what the"
                    " stage is of; leave one of them empty",
                    key="run",
                )
            return super()._start()
        store = self.store or PipelineConfig().store
        return last_config(store, run=self.run or None).model_dump(mode="json")


class StoreForm(TitledForm):
    """A form about what a store holds."""

    store: Text = ""
    """Root of the store: a folder (a relative one lies in the worker's), or s3://bucket/prefix."""


class ReembedForm(StoreForm):
    """Bring the tables of a store's runs up to date with their videos; nothing is trained."""

    runs: tuple[Text, ...] = ()
    """Only the tables of these runs, by name; none: of every run that has tables."""
    dry_run: bool = False
    """Only say what would be done."""
    accept_losses: bool = False
    """Let tables lose usable rows beyond max_lost_fraction."""
    rehash: bool = False
    """Read every video's bytes again, though its file looks as it did."""

    @property
    def title(self) -> str:
        """What the run is called in the UI."""
        return f"re-embed {', '.join(self.runs) or 'every run'}"


class RetryForm(StoreForm):
    """Try the failed videos of a run again, then bring its tables up to date."""

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

    @property
    def title(self) -> str:
        """What the run is called in the UI."""
        return f"retry failures of {self.run or 'the last run'}"


class MigrateForm(StoreForm):
    """Build the tables of another model beside those there are; search them if they are good."""

    weights: Text
    """File of the new model on the worker's machine, or hf:FOLDER_OR_NAME."""
    run: Text = ""
    """The run whose place the new one takes; empty: what is searched."""
    name: Text = ""
    """Name of the new run; empty: that of the old one and of the weights."""
    dry_run: bool = False
    """Only say what it costs."""

    @property
    def title(self) -> str:
        """What the run is called in the UI."""
        return f"migrate to {Path(self.weights).name}"


class VerifyForm(StoreForm):
    """Read every part of a store and compare it with its receipt; damage fails the run."""

    @property
    def title(self) -> str:
        """What the run is called in the UI."""
        return f"verify {self.store or 'the store'}"


class GcForm(StoreForm):
    """Remove what no kept snapshot of a store reaches, and what only dropped runs had."""

    keep: int = Field(default=3, ge=1)
    """Newest snapshots kept of each artifact."""
    hours: float = Field(default=24.0, ge=0)
    """Leave alone what is younger, a running writer's say."""
    dry_run: bool = False
    """Only say what would go."""

    @property
    def title(self) -> str:
        """What the run is called in the UI."""
        return f"gc of {self.store or 'the store'}"


class CompactForm(StoreForm):
    """Merge small parts of a store into large ones; the rows stay the same."""

    kind: Literal["", "corpus", "frames", "audio", "embeddings"] = ""
    """Only artifacts of this kind; empty: all."""
    identity: Text = ""
    """Only this one: the first digits `reelvec status` shows; empty: all."""
    dry_run: bool = False
    """Only say what would be done."""

    @property
    def title(self) -> str:
        """What the run is called in the UI."""
        return f"compact {self.store or 'the store'}"
