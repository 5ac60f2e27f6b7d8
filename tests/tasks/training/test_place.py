"""Which of several commands this is, in the words of its launcher."""

import pytest

from reelvec.configs.addresses import Address, parse_address
from reelvec.configs.schema import TrainConfig
from reelvec.tasks.training.errors import TrainingError
from reelvec.tasks.training.place import Place, is_launched, place_of

OUTER = {"MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "4000"}
SLURM = {"SLURM_JOB_ID": "2034", "SLURM_JOB_NODELIST": "gpu[03-05,9],cpu1"}
AGENT = {"TORCHELASTIC_RUN_ID": "none", "TORCHELASTIC_USE_AGENT_STORE": "True"}


def words(rank, world, local=0, local_world=1):
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    return dict(zip(names, map(str, (rank, world, local, local_world)), strict=True))


def task(rank, tasks, local=0):
    return {
        "SLURM_PROCID": str(rank),
        "SLURM_STEP_NUM_TASKS": str(tasks),
        "SLURM_NTASKS": "64",  # of the job, not of the step
        "SLURM_LOCALID": str(local),
    }


def test_one_node_asks_no_launcher():
    place = place_of(TrainConfig(processes=3), OUTER | words(1, 8))
    assert place == Place.alone(3)
    assert (place.is_first, place.world, list(place.ranks)) == (True, 3, [0, 1, 2])


@pytest.mark.parametrize(
    ("environment", "ranks", "first_local", "local_world", "address"),
    [
        (OUTER | words(1, 2), [4, 5, 6, 7], 0, 4, "10.0.0.1:4000"),
        (OUTER | words(5, 8, 1, 4), [5], 1, 4, "10.0.0.1:4000"),
        (OUTER | AGENT | words(5, 8, 1, 4), [5], 1, 4, "10.0.0.1:4001"),
        (SLURM | task(1, 2), [4, 5, 6, 7], 0, 4, "gpu03:29534"),
        (SLURM | task(6, 8, 2), [6], 2, 4, "gpu03:29534"),
        (SLURM | task(6, 8, 2) | {"CUDA_VISIBLE_DEVICES": "2"}, [6], 0, 4, "gpu03:29534"),
    ],
)
def test_a_command_a_node_or_one_a_process(environment, ranks, first_local, local_world, address):
    place = place_of(TrainConfig(nodes=2, processes=4), environment)
    assert place.world == 8
    assert list(place.ranks) == ranks
    assert (place.first_local, place.local_world) == (first_local, local_world)
    assert str(place.address) == address


def test_an_address_that_is_given_wins():
    options = TrainConfig(nodes=2, address="10.1.1.1")
    place = place_of(options, OUTER | words(0, 2))
    assert place.address == Address("10.1.1.1", 29500)
    assert place.is_first


@pytest.mark.parametrize(
    ("nodes", "first"),
    [("n1", "n1"), ("n1,n2", "n1"), ("a[1-2]b[3,4],c", "a1b3"), ("x[007,9-11]-y", "x007-y")],
)
def test_the_first_name_of_slurms_list(nodes, first):
    given = task(0, 2) | {"SLURM_STEP_NODELIST": nodes}
    assert place_of(TrainConfig(nodes=2), given).address == Address(first, 29500)


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({}, r"train.nodes is \(2\), and nothing says which"),
        (
            OUTER | words(0, 3),
            r"the launcher started 3 commands.*wants 2, one a node, or 8, one for each",
        ),
        (SLURM | task(0, 16), "srun started 16 commands"),
        (OUTER | AGENT | words(0, 5), "torchrun started 5 commands"),
        (words(0, 2), "nothing names where they meet"),
        (words(0, 2) | {"MASTER_ADDR": "0.0.0.0"}, "MASTER_ADDR.*every address"),
        (words("x", 2), r"RANK in the environment is \(x\)"),
    ],
)
def test_what_is_missing_is_said(environment, said):
    with pytest.raises(TrainingError, match=said):
        place_of(TrainConfig(nodes=2, processes=4), environment)


def test_whether_there_is_a_launcher():
    assert is_launched(words(0, 2)) and is_launched(task(0, 1))
    assert not is_launched({"SLURM_JOB_ID": "1", "SLURM_NTASKS": "2"})


@pytest.mark.parametrize("text", ["", ":1", "h:0", "h:65536", "h:x", "a b", "http://h", "[::1"])
def test_what_is_no_address_is_refused(text):
    with pytest.raises(ValueError, match="no address"):
        TrainConfig(address=text)


@pytest.mark.parametrize("text", ["0.0.0.0", "0.0.0.0:29500", "[::]:1", "*:80"])
def test_every_address_is_refused(text):
    with pytest.raises(ValueError, match="every address"):
        parse_address(text)


def test_addresses():
    assert parse_address("[fe80::1]:7") == Address("fe80::1", 7)
    assert str(parse_address("[fe80::1]:7")) == "[fe80::1]:7"
    assert parse_address("n1", port=5) == Address("n1", 5)
