"""The progress of a training run, stored in a checkpoint beside its tensors."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer

__all__ = ["Best", "History", "Progress"]

History = tuple[dict[str, float], ...]
"""A point an epoch: epoch (from 1), step, loss, lr, and R@1 … of the selection split."""


class Best(BaseModel):
    """The best epoch so far. A strictly better score wins: R@1, among equals the mean rank."""

    model_config = ConfigDict(frozen=True)

    step: int
    epoch: int
    score: tuple[float, float] = (0.0, 0.0)
    """(text-to-video R@1, minus the mean rank); zeros where there is nothing to select on."""


class Progress(BaseModel):
    """Position, history and best epoch after `step` steps. Nothing in it depends on the clock."""

    model_config = ConfigDict(frozen=True)

    step: int = 0
    steps_per_epoch: int
    total_steps: int
    loss_sum: float = 0.0
    """Of the steps of the epoch that has begun."""
    history: History = ()
    best: Best | None = None
    training_set: str = ""
    """Hash of the items trained on."""
    stopped: bool = False
    """Whether it ended before its last step, as no later epoch was better (train.stop_after)."""

    @model_serializer(mode="wrap")
    def _as_before_it_could_stop(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without `stopped` where it is False: such checkpoints have the bytes they always had."""
        fields: dict[str, Any] = handler(self)
        return {name: value for name, value in fields.items() if name != "stopped" or value}

    @property
    def epoch(self) -> int:
        """Epochs completed."""
        return self.step // self.steps_per_epoch if self.steps_per_epoch else 0

    @property
    def finished(self) -> bool:
        return self.stopped or self.step >= self.total_steps

    @property
    def ends_epoch(self) -> bool:
        return self.step > 0 and self.step % self.steps_per_epoch == 0

    def after_step(self, loss: float) -> Progress:
        """One more step."""
        return self._with(step=self.step + 1, loss_sum=self.loss_sum + loss)

    def after_epoch(
        self,
        metrics: dict[str, float],
        *,
        rate: float,
        selects: bool,
        stop_after: int | None = None,
    ) -> Progress:
        """The epoch that has just ended enters the history, and may be the best.

        Args:
            metrics: of the selection split; empty where it was not evaluated.
            rate: learning rate of the last step.
            selects: whether there is a selection split; if not, the last epoch is the best.
            stop_after: epochs without a better one after which the training has stopped; only an
                evaluated epoch stops it. None: never.
        """
        point = {
            "epoch": float(self.epoch),
            "step": float(self.step),
            "loss": self.loss_sum / self.steps_per_epoch,
            "lr": rate,
            **metrics,
        }
        best = self.best
        if not selects:
            best = Best(step=self.step, epoch=self.epoch, score=(0.0, 0.0))
        elif metrics:
            score = (metrics["R@1"], -metrics["MnR"])
            if best is None or score > best.score:
                best = Best(step=self.step, epoch=self.epoch, score=score)
        waited = self.epoch - best.epoch if best and metrics else 0
        stopped = stop_after is not None and waited >= stop_after
        return self._with(loss_sum=0.0, history=(*self.history, point), best=best, stopped=stopped)

    def _with(self, **changes: Any) -> Progress:
        return self.model_copy(update=changes)
