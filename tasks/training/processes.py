"""The processes of one training run, and what they do together: gather, sum, broadcast, end.

One process needs no process group: every verb is then the identity. CPU tensors travel through
gloo and CUDA tensors through NCCL, whichever the tensor is.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

from reelvec.tasks.training.errors import TrainingError

__all__ = ["MEETING", "Group"]

MEETING = "REELVEC_TRAIN_MEETING"
"""Environment variable: the file through which the processes of a run find each other."""

_TIMEOUT = timedelta(hours=2)  # a rank may validate or write a checkpoint meanwhile
_BUCKET = 1 << 25  # elements a reduction, so that no copy of all gradients is made


def choose_device(name: str, *, local_rank: int = 0) -> torch.device:
    """The device of a process: auto is cuda where there is one.

    Raises:
        TrainingError: cuda was asked for and is not there, or has fewer devices than processes.
    """
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    count = torch.cuda.device_count()
    if local_rank >= count:
        raise TrainingError(
            f"train.device ({name}) with process {local_rank} of this machine, which has {count} "
            "CUDA devices; set train.processes to at most that many, or train.device to cpu"
        )
    return torch.device("cuda", local_rank)


@dataclass(frozen=True)
class Group:
    """One process among `world`; `device` is where it computes."""

    rank: int = 0
    world: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @classmethod
    def join(cls, device: str) -> Group:
        """Join the group that the environment describes in torch's words (none: alone).

        Raises:
            TrainingError: no such device, or no file to meet through.
        """
        rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
        place = choose_device(device, local_rank=int(os.environ.get("LOCAL_RANK", "0")))
        if place.type == "cuda":
            torch.cuda.set_device(place)
        if world > 1 and not dist.is_initialized():
            backend = "cpu:gloo,cuda:nccl" if place.type == "cuda" else "gloo"
            meeting = f"file://{_meeting(world)}"
            dist.init_process_group(
                backend, init_method=meeting, rank=rank, world_size=world, timeout=_TIMEOUT
            )
        return cls(rank, world, place)

    @property
    def is_first(self) -> bool:
        """Whether this process reports and writes for all of them."""
        return self.rank == 0

    def gather(self, tensor: Tensor, *, sizes: Sequence[int]) -> Tensor:
        """Rows of all processes in rank order, without a gradient.

        Args:
            tensor: [sizes[rank], ...], the rows of this process.
            sizes: rows of each process.
        """
        tensor = tensor.detach().contiguous()
        if self.world == 1:
            return tensor
        most = max(sizes)
        padded = tensor
        if tensor.shape[0] < most:
            padded = tensor.new_zeros((most, *tensor.shape[1:]))
            padded[: tensor.shape[0]] = tensor
        out = tensor.new_empty((self.world * most, *tensor.shape[1:]))
        dist.all_gather_into_tensor(out, padded)
        if min(sizes) == most:
            return out
        return torch.cat([out[r * most : r * most + n] for r, n in enumerate(sizes)])

    def sum(self, tensors: Iterable[Tensor]) -> None:
        """Replace each tensor by its sum over processes, in flat buckets of one type.

        Every process must give tensors of the same shapes in the same order.
        """
        if self.world == 1:
            return
        by_type: dict[torch.dtype, list[Tensor]] = defaultdict(list)
        for tensor in tensors:
            by_type[tensor.dtype].append(tensor)
        for same in by_type.values():
            for bucket in _buckets(same):
                flat = torch.cat([tensor.reshape(-1) for tensor in bucket])
                dist.all_reduce(flat)
                pieces = torch.split(flat, [tensor.numel() for tensor in bucket])
                for tensor, piece in zip(bucket, pieces, strict=True):
                    tensor.copy_(piece.view_as(tensor))

    def share(self, tensors: Iterable[Tensor]) -> None:
        """Replace each tensor by the first process's."""
        if self.world > 1:
            for tensor in tensors:
                dist.broadcast(tensor, src=0)

    def tell(self, value: int) -> int:
        """Send the value of process 0 to all processes."""
        if self.world == 1:
            return value
        told = torch.tensor([value], dtype=torch.int64, device=self.device)
        dist.broadcast(told, src=0)
        return int(told.item())

    def leave(self) -> None:
        """End the group; the others may be gone already."""
        if self.world > 1 and dist.is_initialized():
            dist.destroy_process_group()


def _meeting(world: int) -> str:
    """The file; never torch's network store, which whoever reaches it can make run code."""
    meeting = os.environ.get(MEETING)
    if not meeting:
        raise TrainingError(
            f"WORLD_SIZE ({world}) is set, but {MEETING} names no file to meet through; several"
            " processes are started with train.processes, not by a launcher"
        )
    return meeting


def _buckets(tensors: Sequence[Tensor]) -> Iterable[list[Tensor]]:
    bucket: list[Tensor] = []
    size = 0
    for tensor in tensors:
        if bucket and size + tensor.numel() > _BUCKET:
            yield bucket
            bucket, size = [], 0
        bucket.append(tensor)
        size += tensor.numel()
    if bucket:
        yield bucket
