"""No worker of a Dask cluster spills: ours, and those of the documented command lines.

What a worker keeps results in says so: a plain dict, or Dask's SpillBuffer.
"""

import re
import shlex
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from distributed import Client, Scheduler, SpecCluster, Worker

from reelvec.configs import ConfigError, PipelineConfig
from reelvec.flows.clusters import open_cluster
from tests.support.dask_workers import NEVER_SPILLS, kept_in

ROOT = Path(__file__).parents[2]
LOOPBACK = {"dashboard_address": "127.0.0.1:0", "host": "127.0.0.1"}


def workers_of(**options):
    """A cluster in this process: {name: options of a worker}."""
    specs = {
        name: {"cls": Worker, "options": LOOPBACK | {"nthreads": 1} | given}
        for name, given in options.items()
    }
    return SpecCluster(workers=specs, scheduler={"cls": Scheduler, "options": LOOPBACK})


def documented():
    """{place: the words that start a worker there}."""
    page = (ROOT / "docs/scaling-out.md").read_text()
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    (line,) = re.findall(r"^dask worker .*$", page, flags=re.MULTILINE)
    found = {"shell": shlex.split(line), "compose": compose["services"]["dask-worker"]["command"]}
    for place, option in (("slurm", "worker_extra_args"), ("kubernetes", "worker_command")):
        (words,) = re.findall(rf"{option}=\[(.*?)\]", page, flags=re.DOTALL)
        found[place] = re.findall(r'"(.*?)"', words)
    return found


def limit_in(words):
    """What `dask worker` takes for the limit, given these words."""
    return dict(pairwise(words)).get("--memory-limit", "auto")


def test_a_local_cluster_never_spills():
    with (
        open_cluster(PipelineConfig(runner="dask", workers=1)) as address,
        Client(address) as client,
    ):
        assert list(client.run(kept_in).values()) == [NEVER_SPILLS]


def test_the_documented_workers_never_spill():
    limits = {place: {"memory_limit": limit_in(words)} for place, words in documented().items()}
    with workers_of(**limits) as cluster, Client(cluster) as client:
        names = {worker.address: worker.name for worker in cluster.workers.values()}
        found = {names[address]: seen for address, seen in client.run(kept_in).items()}
    assert found == dict.fromkeys(("shell", "compose", "slurm", "kubernetes"), NEVER_SPILLS)


def test_workers_that_would_spill_are_said_once_a_run(capsys):
    given = {"free": {"memory_limit": "0"}, "usual": {"memory_limit": "512MiB"}}
    with workers_of(**given) as cluster, Client(cluster) as client:
        assert ("SpillBuffer", 512 << 20, True) in client.run(kept_in).values(), "what is not ours"
        config = PipelineConfig(runner="dask", dask_address=cluster.scheduler_address)
        with open_cluster(config):
            pass
    (said,) = [line for line in capsys.readouterr().err.splitlines() if "memory limit" in line]
    assert "1 of 2 workers have a memory limit of Dask's (the least 512 MiB)" in said
    assert said.endswith("start workers with --memory-limit 0")


def test_a_worker_is_no_scheduler():
    with workers_of(one={"memory_limit": "0"}) as cluster:
        (worker,) = cluster.workers.values()
        config = PipelineConfig(runner="dask", dask_address=worker.address)
        with pytest.raises(ConfigError, match="a Worker of Dask's does"), open_cluster(config):
            pass


def test_workers_without_a_limit_are_not_spoken_of(capsys):
    with workers_of(free={"memory_limit": "0"}) as cluster:
        config = PipelineConfig(runner="dask", dask_address=cluster.scheduler_address)
        with open_cluster(config):
            pass
    assert "memory limit" not in capsys.readouterr().err
