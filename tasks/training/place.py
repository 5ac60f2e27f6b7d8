"""Where a command stands among those that train together, as its launcher says.

A launcher starts the same command several times: once on each node, or once for each process. It
says which of them one is in the environment: torchrun and most others in torch's words, srun in
Slurm's.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass

from reelvec.configs.addresses import MEETING_PORT, Address, parse_address
from reelvec.configs.schema import TrainConfig
from reelvec.tasks.training.errors import TrainingError

__all__ = ["OWN_ADDRESS", "Place", "is_launched", "place_of"]

OWN_ADDRESS = "REELVEC_NODE_ADDRESS"
"""Environment variable: the address of this node that its training processes listen on."""

_PORTS = 1000  # jobs of a cluster meet at ports of their own


@dataclass(frozen=True)
class Place:
    """Which processes of a training one command starts.

    Attributes:
        index: of the command among those that train together; the first commits and reports.
        count: of these commands.
        processes: that each of them starts.
        first_local: place of its first process among those of its machine.
        local_world: processes of its machine.
        address: where the first meets the others; None: there are no others.
    """

    index: int = 0
    count: int = 1
    processes: int = 1
    first_local: int = 0
    local_world: int = 1
    address: Address | None = None

    @classmethod
    def alone(cls, processes: int) -> Place:
        """All processes are this command's."""
        return cls(processes=processes, local_world=processes)

    @property
    def is_first(self) -> bool:
        return self.index == 0

    @property
    def world(self) -> int:
        """Processes of the training."""
        return self.count * self.processes

    @property
    def ranks(self) -> range:
        """Of the processes that this command starts."""
        return range(self.index * self.processes, (self.index + 1) * self.processes)

    def name(self, rank: int, *, host: str = "") -> str:
        """What to call a process in words."""
        if self.world == 1:
            return "the training process"
        return f"rank {rank} of {self.world} on {host or socket.gethostname()}"


@dataclass(frozen=True)
class _Told:
    """What a launcher says: which of how many, and which of those on this machine."""

    launcher: str
    index: int
    count: int
    local: int
    local_count: int


def place_of(options: TrainConfig, environment: Mapping[str, str]) -> Place:
    """The place of this command.

    Args:
        options: of the training; with train.nodes 1 no launcher is asked.
        environment: of this process.

    Raises:
        TrainingError: several nodes, and no launcher says which this is, or it started another
            number of commands, or no address is named.
    """
    nodes, processes = options.nodes, options.processes
    if nodes == 1:
        return Place.alone(processes)
    told = _told(environment)
    if told is None:
        raise TrainingError(
            f"train.nodes is ({nodes}), and nothing says which of them this is: start the command"
            " with srun or torchrun, or give it RANK and WORLD_SIZE; with runner=dask the workers"
            " of the cluster train"
        )
    if told.count not in (nodes, nodes * processes):
        more = f", or {nodes * processes}, one for each of train.processes" if processes > 1 else ""
        raise TrainingError(
            f"{told.launcher} started {told.count} commands, and train.nodes ({nodes}) wants"
            f" {nodes}, one a node{more}; start so many, or set train.nodes"
        )
    each = processes if told.count == nodes else 1
    return Place(
        index=told.index,
        count=told.count,
        processes=each,
        first_local=0 if _has_devices_of_its_own(environment, each) else told.local * each,
        local_world=each * told.local_count if each > 1 or told.local_count > 1 else processes,
        address=_address(options, environment),
    )


def is_launched(environment: Mapping[str, str]) -> bool:
    """Whether a launcher says which of several commands this is."""
    return _told(environment) is not None


def _told(environment: Mapping[str, str]) -> _Told | None:
    if "RANK" in environment and "WORLD_SIZE" in environment:
        launcher = "torchrun" if "TORCHELASTIC_RUN_ID" in environment else "the launcher"
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
        return _Told(launcher, *(_number(environment, name) for name in names))
    if "SLURM_PROCID" in environment:
        step = "SLURM_STEP_NUM_TASKS"
        count = step if step in environment else "SLURM_NTASKS"
        names = ("SLURM_PROCID", count, "SLURM_LOCALID", "SLURM_NTASKS_PER_NODE")
        return _Told("srun", *(_number(environment, name) for name in names))
    return None


def _number(environment: Mapping[str, str], name: str) -> int:
    """0, or 1 of a count, where the name is not set."""
    text = environment.get(name, "1" if name.endswith(("SIZE", "NODE", "TASKS")) else "0")
    if not text.isdecimal():
        raise TrainingError(f"{name} in the environment is ({text}), and must be a number")
    return int(text)


def _has_devices_of_its_own(environment: Mapping[str, str], processes: int) -> bool:
    """Whether the launcher shows this command as many GPUs as it has processes."""
    devices = environment.get("CUDA_VISIBLE_DEVICES", "")
    return bool(devices) and len(devices.split(",")) == processes


def _address(options: TrainConfig, environment: Mapping[str, str]) -> Address:
    if options.address is not None:
        return parse_address(options.address)
    if "MASTER_ADDR" in environment:
        port = _number(environment, "MASTER_PORT") or MEETING_PORT
        # torchrun's own store has that port already
        port += environment.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
        return _parsed("MASTER_ADDR", environment["MASTER_ADDR"], port=port)
    for name in ("SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST", "SLURM_NODELIST"):
        if environment.get(name):
            port = MEETING_PORT + _number(environment, "SLURM_JOB_ID") % _PORTS
            return _parsed(name, _first_host(environment[name]), port=port)
    raise TrainingError(
        f"train.nodes is ({options.nodes}), and nothing names where they meet; set train.address to"
        " an address of the first node, or MASTER_ADDR and MASTER_PORT"
    )


def _parsed(name: str, text: str, *, port: int) -> Address:
    try:
        return parse_address(text, port=port)
    except ValueError as error:
        raise TrainingError(f"{name} in the environment: {error}") from None


def _first_host(nodes: str) -> str:
    """The first name of Slurm's list: `gpu[03-05,9],cpu1` begins with gpu03."""
    found = re.match(r"(?:[^,\[]|\[[^\]]*\])+", nodes)
    return re.sub(r"\[([^\],-]+)[^\]]*\]", r"\1", found[0] if found else "")
