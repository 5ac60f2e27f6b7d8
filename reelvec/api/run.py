"""One run of a store: its tables, frames, ledger and numbers, and the model that made them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from reelvec.api.recorded import RecordedArtifacts, config_of
from reelvec.api.refusals import why_no_frames, why_no_report, why_no_video
from reelvec.api.table import TABLES, Table
from reelvec.configs import PipelineConfig
from reelvec.errors import RequestError
from reelvec.storage.errors import MissingArtifactError
from reelvec.storage.frames.contract import ClipFrames
from reelvec.storage.frames.reader import FrameReader
from reelvec.storage.roots import Root
from reelvec.storage.runs import RunRecord
from reelvec.tasks.artifacts import SnapshotRef
from reelvec.tasks.corpus.ingest import Corpus, corpus_at, key_of
from reelvec.tasks.corpus.ledger import LedgerRow, failures, ledger

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from reelvec.api.dataset import FrameDataset
    from reelvec.api.encoding import RunEncoder
    from reelvec.api.indexing import IndexFacts
    from reelvec.api.mteb_model import MtebModel
    from reelvec.api.searching import Search
    from reelvec.configs.indexing import IndexConfig
    from reelvec.tasks.exports.export import Exported
    from reelvec.tasks.exports.source import ExportSource
    from reelvec.tasks.scoring.rows import MetricRow
    from reelvec.tasks.searching.search import Answers, SearchRow
    from reelvec.tasks.training.exports import Curves

__all__ = ["Run"]


class Run:
    """A run, read as the store stands now or as it stood when the run ended (see `Store`).

    Each table is one snapshot, of when it was first asked for; the next `Run` sees later ones.

    Attributes:
        name: given by its configuration; runs may share it.
        identifier: of this run alone, 8 hex digits.
        started, ended: with their time zone (`ended` None: it is not known).
        status: completed, or refreshed: it kept the tables of the runs before it true.
        artifacts: kind -> what its record names: `fingerprint` (the identity) and `number`.
    """

    def __init__(self, root: Root, record: RunRecord, *, as_ended: bool) -> None:
        self.name = record.name
        self.identifier = record.identifier
        self.started = datetime.fromisoformat(record.started)
        self.ended = datetime.fromisoformat(record.ended) if record.ended else None
        self.status = record.status
        self._root = root
        self._record = record
        self._recorded = RecordedArtifacts(root, record, as_ended=as_ended)
        self.artifacts: Mapping[str, SnapshotRef] = self._recorded.named

    @property
    def has_tables(self) -> bool:
        """Whether it embedded its videos, or scored such tables."""
        return self._record.has_tables

    @cached_property
    def config(self) -> PipelineConfig:
        """Its configuration, with `store` where it lies now; StoreError where it cannot be read."""
        return config_of(self._record, self._root)

    @property
    def tables(self) -> tuple[str, ...]:
        """Names `table` takes."""
        has, at, known = self._recorded.has, self._recorded.snapshot, TABLES.items()
        return tuple(name for name, (kind, one) in known if has(kind) and one in at(kind).tables)

    def table(self, name: str) -> Table:
        """A table by its name.

        Args:
            name: `videos`, `captions` and `windows` with their vectors; `corpus_videos`,
                `corpus_captions` as listed; `training_set`; else a table of the evaluation.

        Raises:
            RequestError: no table is called so.
            MissingArtifactError: this run has not made it.
        """
        if name not in TABLES:
            raise RequestError(f"no table is called ({name}); there are {', '.join(TABLES)}")
        kind, table = TABLES[name]
        return Table(self._recorded.snapshot(kind), table)

    @property
    def videos(self) -> Table:
        """Video_id, content_hash, clip_key, split, outcome, vectors; of those that did not fail."""
        return self.table("videos")

    @property
    def captions(self) -> Table:
        """The caption table: caption_id, video_id, split, subset, text, vectors."""
        return self.table("captions")

    @property
    def curves(self) -> Curves:
        """Of its training: `steps` and `epochs`, Arrow tables."""
        from reelvec.tasks.training.exports import curves_at

        return curves_at(self._recorded.snapshot("checkpoint"))

    def ledger(self) -> list[LedgerRow]:
        """One row a video of the corpus, in its order: what became of it, at which stage."""
        frames = self._recorded.snapshot("frames") if self._recorded.has("frames") else None
        return list(ledger(self._corpus, frames=frames))

    def failures(self, *, sound: bool = False) -> list[LedgerRow]:
        """Rows of videos that are quarantined or salvaged; by their `sound`, where models hear."""
        return self._recorded.sound_failures() if sound else failures(self.ledger())

    def metrics(self) -> list[MetricRow]:
        """What the tables scored last; recalls are percent, ranks count from 1, bounds are 95 %.

        Raises:
            MissingArtifactError: they are not scored; `reelvec evaluate` does that.
        """
        from reelvec.tasks.scoring.evaluate import read_metrics

        return read_metrics(self._recorded.snapshot("evaluation"))

    def report(self) -> Path:
        """The page that shows what the tables scored, HTML; MissingArtifactError: none is drawn."""
        from reelvec.tasks.reports.report import report_in_force

        if (page := report_in_force(self._recorded.snapshot("evaluation"))) is None:
            raise MissingArtifactError(why_no_report(self.name), path=self._root.uri)
        return page

    def frames(self, video_id: str) -> ClipFrames:
        """The stored frames of a video, with their times.

        Returns:
            `frames` uint8 [T, H, W, 3] RGB, read-only; `pts_seconds` and `frame_index`, both [T].

        Raises:
            RequestError: the corpus has no such video.
            MissingArtifactError: it has no frames: it failed (and why), or is not extracted yet.
        """
        if (key := self._clips.get(video_id)) is None:
            raise RequestError(why_no_video(video_id, known=self._clips, run=self.name))
        if key not in (reader := self._reader):
            row = next(row for row in self.ledger() if row.video_id == video_id)
            raise MissingArtifactError(why_no_frames(row), path=self._root.uri)
        return ClipFrames(key, reader.frames(key), reader.pts(key), reader.frame_index(key))

    def dataset(
        self,
        *,
        split: str | None = None,
        each: Literal["caption", "video"] = "caption",
        max_frames: int | None = None,
        frame_selection: Literal["head", "tail", "linspace", "starts"] | None = None,
    ) -> FrameDataset:
        """Frames and captions for a training loop of one's own: a `torch.utils.data.Dataset`.

        Args:
            split: videos of this split and of none; None: all.
            each: an item a caption, or an item a video (its text is then empty).
            max_frames: frames an item; None: as many as the run's model sees.
            frame_selection: which, where more are stored; None: as the run's model does.

        Raises:
            RequestError: an unknown choice, or nothing is in the split.
            MissingArtifactError: the run has no frames.
        """
        from reelvec.api.dataset import DatasetOptions, FrameDataset

        model = self.config.model
        most = model.max_frames if max_frames is None else max_frames
        how = frame_selection or model.frame_selection
        options = DatasetOptions(split=split, each=each, max_frames=most, frame_selection=how)
        corpus, frames = map(self._recorded.snapshot, ("corpus", "frames"))
        return FrameDataset(SnapshotRef.to(corpus), SnapshotRef.to(frames), options=options)

    def encode_texts(
        self, texts: Sequence[str], *, column: str = "embedding", device: str | None = None
    ) -> npt.NDArray[np.generic]:
        """Texts as the run's model encodes its captions.

        Args:
            texts: N of them; longer ones are cut at `config.model.max_words` tokens.
            column: of the caption table; families without one vector a text have others.
            device: cpu, cuda or cuda:1; None: as the run was configured.

        Returns:
            [N, D] in the tables' type; of `embedding` unit vectors, whose product ranks `search`.

        Raises:
            RequestError: one string instead of several, or no such column.
            MissingArtifactError: the store has lost the model.
        """
        return self._encoder(device).texts(texts, column=column)

    def encode_frames(
        self,
        clips: Sequence[npt.NDArray[np.uint8]],
        *,
        column: str = "embedding",
        device: str | None = None,
    ) -> npt.NDArray[np.generic]:
        """Clips as the run's model encodes its videos, [N, D] in the tables' type.

        Args:
            clips: N arrays uint8 [T, S, S, 3], RGB, of the run's size; of many frames some.
            column: of the video table.
            device: as of `encode_texts`, and so what else is raised.

        Raises:
            RequestError: frames of another shape or type, or no such column.
        """
        return self._encoder(device).frames(clips, column=column)

    def search(self, text: str, *, top: int = 10, split: str | None = None) -> list[SearchRow]:
        """The `top` videos for a text, best first, with path, window and the frames' times."""
        return self.answers(text, top=top, split=split).rows

    def answers(self, text: str, *, top: int = 10, split: str | None = None) -> Answers:
        """What `search` finds, with the unit of its scores, and notes on what they are worth."""
        with self.searches() as open_search:
            return open_search.text(text, top=top, split=split)

    def searches(self, *, device: str | None = None, **how: Any) -> Search:
        """What searches this run by texts, videos of its own, files and vectors, on a `device`.

        How: `times` (True) says when the stored frames are; `whole` ranks whole videos, also where
        there are windows; `approximate` takes an index; `column`: audio or audio_video, if heard.
        """
        from reelvec.api.searching import Search

        return Search(self._recorded, self.config, device=device, **how)

    def index(self, settings: IndexConfig | None = None, *, whole: bool = False) -> IndexFacts:
        """Make the index of approximate searches; see `api.indexing.make_index`."""
        from reelvec.api.indexing import make_index

        return make_index(self._recorded, self.config, settings=settings, whole=whole)

    def export(self, out: str | Path, *, to: str, force: bool = False, **settings: Any) -> Exported:
        """Write its tables as another tool opens them, into a folder `out` (docs/tables.md).

        Args:
            out: whole afterwards, or as it was.
            to: what `reelvec export --to` takes.
            force: replace a folder that an export wrote.
            settings: fields of `tasks.exports.contract.ExportSettings`.

        Raises:
            RequestError: `to` is not known or does not fit the run, or `out` is taken.
        """
        from reelvec.api.exporting import export, settings_of

        how = settings_of(settings)
        return export(self._source(), Path(out), to=to, force=force, settings=how)

    def mteb_model(self, *, device: str | None = None) -> MtebModel:
        """What `mteb.evaluate` takes; families without one vector a row are refused."""
        from reelvec.api.mteb_model import MtebModel

        return MtebModel(self._source(), self._encoder(device))

    def _source(self) -> ExportSource:
        from reelvec.api.exporting import source_of

        return source_of(self._recorded, self._record, self.config)

    def _encoder(self, device: str | None) -> RunEncoder:
        from reelvec.api.encoding import RunEncoder

        return RunEncoder(self._recorded, self.config, device=device)

    @cached_property
    def _corpus(self) -> Corpus:
        return corpus_at(self._recorded.snapshot("corpus"))

    @cached_property
    def _reader(self) -> FrameReader:
        return FrameReader(self._recorded.snapshot("frames"))

    @cached_property
    def _clips(self) -> dict[str, str]:
        """video_id -> clip_key."""
        return {video.video_id: key_of(video) for video in self._corpus.videos}

    def __repr__(self) -> str:
        return f"Run({self.name}, {self.identifier}, {self.started:%Y-%m-%d %H:%M})"
