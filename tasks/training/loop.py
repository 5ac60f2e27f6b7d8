"""The training loop: epochs of steps, validation, checkpoints; it goes on from where it stood."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace

import torch

from reelvec.models.training.optim import rates
from reelvec.models.training.parameters import clamp_logit_scale
from reelvec.storage.commits.artifact import Artifact
from reelvec.storage.frames.contract import FrameSource
from reelvec.tasks.training.checkpoints import (
    Contents,
    TrainingState,
    commit_contents,
    contents_of,
    restore,
)
from reelvec.tasks.training.committed import CheckpointRef
from reelvec.tasks.training.curves import StepPoint
from reelvec.tasks.training.data import ClipLoader, seen_in_evaluation, seen_in_training
from reelvec.tasks.training.errors import TrainingError
from reelvec.tasks.training.events import Reporter
from reelvec.tasks.training.identity import draws_noise
from reelvec.tasks.training.items import Item, set_hash
from reelvec.tasks.training.kept import KeptFeatures
from reelvec.tasks.training.order import Order, pieces, scheduled_steps
from reelvec.tasks.training.processes import Group
from reelvec.tasks.training.progress import Progress
from reelvec.tasks.training.selection import SelectionSet
from reelvec.tasks.training.spec import TrainSpec
from reelvec.tasks.training.starting import make_optimizer, make_trainable, starting_model
from reelvec.tasks.training.step import (
    Batch,
    PairBatch,
    StepOptions,
    contrastive_backward,
    limited_norm,
)
from reelvec.tasks.training.teachers import Classroom
from reelvec.tasks.training.writing import CheckpointWriter

__all__ = ["Trainer"]

_SHOWN = 8


def planned(order: Order, *, epochs: int, training_set: str) -> Progress:
    """The progress of a run before its first step."""
    steps = order.steps
    return Progress(steps_per_epoch=steps, total_steps=steps * epochs, training_set=training_set)


class Trainer:
    """One process of a run."""

    def __init__(
        self,
        spec: TrainSpec,
        *,
        artifact: Artifact,
        items: Sequence[Item],
        reader: FrameSource,
        group: Group,
    ) -> None:
        """Build model, optimizer and batches; nothing is trained or written yet."""
        options = spec.train
        self.spec, self.artifact, self.group = spec, artifact, group
        self.items = [item for item in items if item.role == "train"]
        self.order = Order.of(self.items, options)
        self.mine = pieces(self.order.batch, processes=group.world)[group.rank]
        model = starting_model(spec.model, seed=options.seed)
        make_trainable(model, options, device=group.device)
        self.kept = KeptFeatures.of_backbone(spec.kept.backbone, model)
        self.classroom = Classroom(spec.kept.teachers, options, device=group.device)
        self.loader = ClipLoader(
            reader,
            max_frames=spec.model.max_frames,
            image_size=model.image_size,
            device=group.device,
        )
        self.tokens = model.tokenize([item.text for item in self.items])
        chosen = [item for item in items if item.role == "selection"]
        self.selection = SelectionSet(
            chosen,
            model=model,
            seen=seen_in_evaluation(spec.model),
            batch=min(options.batch_size, 32),
            kept=self.kept,
        )
        progress = planned(self.order, epochs=options.epochs, training_set=set_hash(items))
        optimizer = make_optimizer(model, options, total_steps=scheduled_steps(self.order, options))
        self.state = TrainingState(model, optimizer, progress)
        self.how = StepOptions.of(options)
        self.reporter = Reporter(silent=not group.is_first)
        self.writer = CheckpointWriter(self._write)
        self._started, self._seconds_before = time.monotonic(), 0.0
        self._curve: list[StepPoint] = []
        self._step_began = time.perf_counter()

    def check_size(self, stored: int) -> None:
        """Refuse stored frames of another size than the model's.

        Raises:
            TrainingError: naming both.
        """
        wanted = self.state.model.image_size
        if stored != wanted:
            raise TrainingError(
                f"the frames are {stored} pixels wide, the model takes {wanted}; "
                f"set extract.size to {wanted}"
            )

    def resume(self, ref: CheckpointRef, *, curve: Sequence[StepPoint] = ()) -> None:
        """Go on from a checkpoint, and from the curve up to it.

        Raises:
            TrainingError: it was trained on other items.
        """
        here = self.state.progress
        there = ref.progress
        if (there.training_set, there.total_steps) != (here.training_set, here.total_steps):
            raise TrainingError(
                f"checkpoint {ref.key} is from a run over training set {there.training_set} with "
                f"{there.total_steps} steps, not {here.training_set} with {here.total_steps}; "
                "remove the checkpoint artifact to train anew"
            )
        optimizer = self.state.optimizer
        if optimizer is None:
            raise TrainingError("a trainer has an optimizer")
        self.state = restore(ref, model=self.state.model, optimizer=optimizer)
        self._seconds_before = ref.seconds
        self._curve = [point for point in curve if point.step <= ref.progress.step]
        if draws_noise(self.spec.model) and not ref.noise_by_row:
            self.reporter.say(
                "note",
                text=f"step {ref.progress.step} was reached with noise drawn by part; from here "
                "on it is drawn by row, so the weights are not those of either way alone",
            )

    def run(self) -> None:
        """Train to the end."""
        progress = self.state.progress
        self.reporter.say(
            "start",
            step=progress.step,
            steps=progress.total_steps,
            epochs=self.spec.train.epochs,
            items=len(self.items),
            device=str(self.group.device),
            processes=self.group.world,
        )
        try:
            with self.writer:
                while not self.state.progress.finished:
                    self._epoch(self.state.progress.epoch)
        finally:
            self._tell_committed()

    def _epoch(self, epoch: int) -> None:
        """What is left of an epoch, counted from 0."""
        model = self.state.model
        model.start_epoch(epoch)
        self._step_began = time.perf_counter()
        done = self.state.progress.step - epoch * self.order.steps
        batches = self.order.epoch(epoch)[done:]
        if self.kept is not None:
            for rows in batches:
                own = [self.items[row] for row in rows[self.mine]]
                self._step(rows, self.kept.batch(own, pairs=len(rows)))
            return
        keys = [[self.items[row].clip_key for row in rows[self.mine]] for rows in batches]
        seen = seen_in_training(self.spec.model, seed=self.spec.train.seed, epoch=epoch)
        with closing(self.loader.batches(keys, seen=seen)) as clips:
            for rows, batch in zip(batches, clips, strict=True):
                chosen = torch.from_numpy(rows[self.mine])
                self._step(rows, PairBatch(self.tokens[chosen], batch, len(rows)))

    def _step(self, rows: Sequence[int], batch: Batch) -> None:
        model, optimizer, progress = self.state.model, self.state.optimizer, self.state.progress
        if optimizer is None:
            raise TrainingError("a trainer has an optimizer")
        self.group.heart.works(f"step {progress.step + 1}")
        self.writer.check()
        self._tell_committed()
        optimizer.zero_grad(set_to_none=True)
        loss = contrastive_backward(
            model,
            batch,
            group=self.group,
            step=progress.step,
            options=self.how,
            lesson=self.classroom.lesson([self.items[row] for row in rows[self.mine]]),
        )
        self._check(loss, rows)
        moved = rates(optimizer)
        norm = limited_norm(model, self.spec.train.max_grad_norm)
        optimizer.step()
        clamp_logit_scale(model)
        progress = progress.after_step(loss)
        self.state = replace(self.state, progress=progress)
        point = self._tell_step(len(rows), loss=loss, norm=norm, moved=moved)
        if progress.ends_epoch:
            self._end_epoch(point.rate)
        elif progress.step % self.spec.train.checkpoint_every == 0:
            self._commit()
        self._step_began = time.perf_counter()

    def _tell_step(
        self, rows: int, *, loss: float, norm: float, moved: dict[str, float]
    ) -> StepPoint:
        """The step just taken, into the curve and to whoever watches."""
        progress, seconds = self.state.progress, time.perf_counter() - self._step_began
        epoch = (progress.step - 1) // progress.steps_per_epoch + 1
        point = StepPoint(
            step=progress.step, epoch=epoch, loss=loss, grad_norm=norm, rates=moved, seconds=seconds
        )
        self._curve.append(point)
        self.reporter.say("point", **point.as_dict())
        self.reporter.step(
            samples=rows,
            waited=self.loader.waited_seconds,
            last=progress.ends_epoch,
            step=progress.step,
            steps=progress.total_steps,
            epoch=epoch,
            loss=round(loss, 5),
            lr=point.rate,
        )
        return point

    def _check(self, loss: float, rows: Sequence[int]) -> None:
        if math.isfinite(loss):
            return
        videos = list(dict.fromkeys(self.items[row].video_id for row in rows))
        more = f" and {len(videos) - _SHOWN} more" if len(videos) > _SHOWN else ""
        raise TrainingError(
            f"the loss is {loss} at step {self.state.progress.step + 1}, in a batch of the videos "
            f"{', '.join(videos[:_SHOWN])}{more}; lower train.learning_rate, use precision fp32, "
            "or look at these videos. The last checkpoint stands"
        )

    def _end_epoch(self, rate: float) -> None:
        options, progress = self.spec.train, self.state.progress
        due = progress.epoch % options.evaluate_every == 0 or progress.finished
        metrics: dict[str, float] = {}
        self.group.heart.works(f"the evaluation of epoch {progress.epoch}")
        if due and len(self.selection):
            metrics = self.selection.evaluate(self.state.model, self.loader, group=self.group)
        if self.group.is_first:
            progress = progress.after_epoch(
                metrics,
                rate=rate,
                selects=len(self.selection) > 0,
                stop_after=options.stop_after,
            )
        stopped = bool(self.group.tell(int(progress.stopped))) if options.stop_after else False
        if not self.group.is_first:
            progress = progress.model_copy(update={"loss_sum": 0.0, "stopped": stopped})
        self.state = replace(self.state, progress=progress)
        if due or progress.step % options.checkpoint_every == 0:
            self._commit()
        if self.group.is_first:
            best = progress.best.epoch if progress.best else 0
            ended = {**progress.history[-1], "best_epoch": best, "stopped": progress.stopped}
            self.reporter.say("epoch", **ended)

    def _commit(self) -> None:
        if self.group.is_first:
            self.group.heart.works(f"the checkpoint of step {self.state.progress.step}")
            self.writer.put(contents_of(self.state, origins=self.spec.kept.origins))

    def _write(self, contents: Contents) -> None:
        """Commit a checkpoint and the curve up to it; called in the writer's thread."""
        step = contents.progress.step
        commit_contents(
            self.artifact,
            contents,
            config=self.spec.model,
            seconds=self._seconds_before + time.monotonic() - self._started,
            keep_last=self.spec.train.keep_last,
            curve=[point for point in tuple(self._curve) if point.step <= step],
        )

    def _tell_committed(self) -> None:
        for step in self.writer.committed():
            self.reporter.say("checkpoint", step=step)
