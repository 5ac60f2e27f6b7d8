"""The processes of one training run, and what they do together: gather, sum, broadcast, end.

One process needs no process group: every verb is then the identity. CPU tensors travel through
gloo and CUDA tensors through NCCL, whichever the tensor is.
"""

from __future__ import annotations

import os
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import chain
from urllib.parse import urlsplit

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import (  # type: ignore[attr-defined]
    PrefixStore,
    ProcessGroupGloo,
    Store,
    TCPStore,
)

from reelvec.tasks.training.errors import TrainingError
from reelvec.tasks.training.heartbeat import Heartbeat

__all__ = ["LISTEN", "MEETING", "Group", "connect", "uses_gpu"]

MEETING = "REELVEC_TRAIN_MEETING"
"""Environment variable: where the processes of a run find each other.

A file, or tcp://HOST:PORT/NAME, the store that the first node's command holds.
"""
LISTEN = "REELVEC_TRAIN_LISTEN"
"""Environment variable: the address of this machine on which others may reach this process."""

_TIMEOUT = timedelta(hours=2)  # a rank may validate or write a checkpoint meanwhile
_PATIENCE = timedelta(seconds=60)  # of a store that does not answer
_GLOO = "reelvec_gloo"
_BUCKET = 1 << 23  # elements a reduction: the copies of two are held, never all gradients


def uses_gpu(name: str) -> bool:
    """Whether train.device means a GPU here."""
    return name == "cuda" or (name == "auto" and torch.cuda.is_available())


def choose_device(name: str, *, local_rank: int = 0) -> torch.device:
    """The device of a process: auto is cuda where there is one.

    Raises:
        TrainingError: cuda was asked for and is not there, or has fewer devices than processes.
    """
    if not uses_gpu(name):
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
    """One process among `world`; `device` is where it computes, `heart` tells of it."""

    rank: int = 0
    world: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    heart: Heartbeat = field(default_factory=Heartbeat)

    @classmethod
    def join(cls, device: str, *, heart: Heartbeat | None = None) -> Group:
        """Join the group that the environment describes in torch's words (none: alone).

        Raises:
            TrainingError: no such device, or nowhere to meet.
        """
        heart = heart or Heartbeat()
        rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
        place = choose_device(device, local_rank=int(os.environ.get("LOCAL_RANK", "0")))
        if place.type == "cuda":
            torch.cuda.set_device(place)
        if world > 1 and not dist.is_initialized():
            with heart.waiting("meeting the others"):
                _meet(rank, world, on_cuda=place.type == "cuda")
        return cls(rank, world, place, heart)

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
        with self.heart.waiting("gathering features"):
            dist.all_gather_into_tensor(out, padded)
        if min(sizes) == most:
            return out
        return torch.cat([out[r * most : r * most + n] for r, n in enumerate(sizes)])

    def sum(self, tensors: Iterable[Tensor]) -> None:
        """Replace each tensor by its sum over processes, in flat buckets of one type.

        One bucket travels while the next is filled and the last one is written back. Every process
        must give tensors of the same shapes in the same order.
        """
        if self.world == 1:
            return
        by_type: dict[torch.dtype, list[Tensor]] = defaultdict(list)
        for tensor in tensors:
            by_type[tensor.dtype].append(tensor)
        underway: deque[tuple[dist.Work, Tensor, list[Tensor]]] = deque()
        for bucket in chain.from_iterable(map(_buckets, by_type.values())):
            flat = torch.cat([tensor.reshape(-1) for tensor in bucket])
            underway.append((dist.all_reduce(flat, async_op=True), flat, bucket))
            if len(underway) > 1:
                self._write_back(*underway.popleft())
        for summed in underway:
            self._write_back(*summed)

    def _write_back(self, work: dist.Work, flat: Tensor, bucket: Sequence[Tensor]) -> None:
        with self.heart.waiting("summing gradients"):
            work.wait()
        pieces = torch.split(flat, [tensor.numel() for tensor in bucket])
        for tensor, piece in zip(bucket, pieces, strict=True):
            tensor.copy_(piece.view_as(tensor))

    def share(self, tensors: Iterable[Tensor]) -> None:
        """Replace each tensor by the first process's."""
        if self.world > 1:
            with self.heart.waiting("hearing from the first"):
                for tensor in tensors:
                    dist.broadcast(tensor, src=0)

    def tell(self, value: int) -> int:
        """Send the value of process 0 to all processes."""
        if self.world == 1:
            return value
        told = torch.tensor([value], dtype=torch.int64, device=self.device)
        self.share([told])
        return int(told.item())

    def leave(self) -> None:
        """End the group; the others may be gone already."""
        if self.world > 1 and dist.is_initialized():
            dist.destroy_process_group()


def connect(host: str, port: int, *, timeout: timedelta = _PATIENCE) -> TCPStore:
    """The store that the first node's command holds; its values are bytes, nothing is unpickled.

    Raises:
        RuntimeError: nobody answers there.
    """
    return TCPStore(host, port, is_master=False, wait_for_workers=False, timeout=timeout)


def _meet(rank: int, world: int, *, on_cuda: bool) -> None:
    """Find the others: through a file on one machine, else through the store that is named."""
    meeting = os.environ.get(MEETING)
    if not meeting:
        raise TrainingError(
            f"WORLD_SIZE ({world}) is set, but {MEETING} says nowhere to meet; several"
            " processes are started with train.processes, not by a launcher"
        )
    gloo, store = "gloo", None
    if meeting.startswith("tcp://"):
        place = urlsplit(meeting)
        dist.Backend.register_backend(_GLOO, _gloo_on_one_address, devices=["cpu"])
        gloo = _GLOO
        store = PrefixStore(place.path, connect(str(place.hostname), int(place.port or 0)))
    dist.init_process_group(
        f"cpu:{gloo},cuda:nccl" if on_cuda else gloo,
        init_method=None if store else f"file://{meeting}",
        store=store,
        rank=rank,
        world_size=world,
        timeout=_TIMEOUT,
    )


def _gloo_on_one_address(
    store: Store, rank: int, size: int, timeout: timedelta
) -> ProcessGroupGloo:
    """Gloo, which listens on the address of this machine that is named and on no other."""
    options = ProcessGroupGloo._Options()  # type: ignore[attr-defined]
    options._timeout = timeout
    device = ProcessGroupGloo.create_device(hostname=os.environ[LISTEN])
    options._devices = [device]
    return ProcessGroupGloo(store, rank, size, options)


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
