"""A process finds its place from the variables of each launcher; what is wrong is named."""

import socket

import pytest

from pretrain.errors import UsageError
from pretrain.ranks import place as places
from pretrain.ranks.place import Place, first_host, place, tasks_per_node
from tests.parallel import ranks as forked

TORCHRUN = {
    "RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4",
    "MASTER_ADDR": "10.0.0.7", "MASTER_PORT": "4242",
}  # fmt: skip
SLURM = {
    "SLURM_STEP_ID": "2", "SLURM_PROCID": "3", "SLURM_NTASKS": "6", "SLURM_LOCALID": "0",
    "SLURM_NODEID": "2", "SLURM_STEP_TASKS_PER_NODE": "2(x1),1,3",
    "SLURM_JOB_NODELIST": "gpu-[07-09,12],login", "SLURM_JOB_ID": "1000",
}  # fmt: skip
KUBEFLOW = {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "job-master-0", "MASTER_PORT": "23456"}
JOBSET = {"JOB_COMPLETION_INDEX": "3", "WORLD_SIZE": "4", "MASTER_ADDR": "job-ranks-0-0.job"}


@pytest.mark.parametrize(
    ("environment", "found"),
    [
        ({}, Place()),
        ({"WORLD_SIZE": "1"}, Place()),
        (TORCHRUN, Place(5, 8, 1, 4, "10.0.0.7", 4242)),
        (TORCHRUN | SLURM, Place(5, 8, 1, 4, "10.0.0.7", 4242)),  # torchrun inside a job
        (TORCHRUN | {places.LISTENS: "7"}, Place(5, 8, 1, 4, "10.0.0.7", 4242, 7)),
        (KUBEFLOW, Place(1, 2, 0, 1, "job-master-0", 23456)),
        (JOBSET, Place(3, 4, 0, 1, "job-ranks-0-0.job", places.PORT)),
        (SLURM, Place(3, 6, 0, 3, "gpu-07", 20000 + (1000 + 97 * 2) % 12000)),
        (SLURM | {"SLURM_NTASKS": "1"}, Place()),
        ({k: v for k, v in SLURM.items() if k != "SLURM_STEP_ID"}, Place()),  # a batch script
        ({"JOB_COMPLETION_INDEX": "2"}, Place()),  # an indexed Job of other work
    ],
)
def test_each_launcher_is_understood(environment, found):
    assert place(environment) == found


def test_what_is_said_is_understood():
    for here in (Place(5, 8, 1, 4, "host", 4242), Place(0, 2, 0, 2, "127.0.0.1", 5, -1)):
        assert place(here.environment()) == here


@pytest.mark.parametrize("name", ["RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "LOCAL_RANK"])
@pytest.mark.parametrize("value", ["x", "-1", "99999999", "1.0", "", " 3"])
def test_a_wrong_variable_is_named(name, value):
    if name == "MASTER_ADDR" and value:
        return
    with pytest.raises(UsageError, match=name):
        place(TORCHRUN | {name: value})


@pytest.mark.parametrize("name", ["SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID"])
def test_a_wrong_variable_of_slurm_is_named(name):
    with pytest.raises(UsageError, match=name):
        place(SLURM | {name: "many"})
    with pytest.raises(UsageError, match="SLURM_JOB_NODELIST is not set"):
        place({k: v for k, v in SLURM.items() if k != "SLURM_JOB_NODELIST"})
    with pytest.raises(UsageError, match="MASTER_ADDR is not set"):
        place({"RANK": "0", "WORLD_SIZE": "2"})


@pytest.mark.parametrize(
    ("hosts", "first"),
    [
        ("node1", "node1"),
        ("node[003-010,12],login", "node003"),
        ("node12,node[003-010]", "node12"),
        ("rack[2-4]-node[01,03]", "rack2-node01"),
        ("a.b.example", "a.b.example"),
    ],
)
def test_the_first_of_a_list_of_hosts(hosts, first):
    assert first_host(hosts) == first


def test_lists_that_slurm_does_not_write():
    for hosts in ("", ",", "[", "a b", "$(x)"):
        with pytest.raises(UsageError, match="SLURM_STEP_NODELIST"):
            first_host(hosts)
    assert list(tasks_per_node("2(x3),1")) == [2, 2, 2, 1]
    with pytest.raises(UsageError, match="TASKS_PER_NODE"):
        list(tasks_per_node("2(3)"))


def test_every_restart_of_a_job_has_a_port_of_its_own():
    ports = [place(SLURM | {"SLURM_RESTART_COUNT": str(n)}).port for n in range(1000)]
    assert len({*ports}) == 1000
    assert all(20000 <= port < 32000 for port in ports)


def _sum(rank, size, listener, end):
    import os

    import torch

    from pretrain.ranks.world import from_environment

    port = listener[1]
    fd = listener[0].fileno() if rank == 0 else -1
    os.environ |= Place(rank, size, rank, size, "127.0.0.1", port, fd).environment()
    world = from_environment()
    tensor = torch.tensor([float(rank + 1)])
    world.sum_([tensor])
    end.send((world.rank, world.size, tensor.item()))
    if rank == 0:
        listener[0].detach()  # the store's
    world.close()


@pytest.mark.multi
def test_ranks_meet_at_a_socket_that_was_bound_before_them():
    context = forked._context
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port, ends, ranks = listener.getsockname()[1], [], []
        for rank in range(2):
            here, there = context.Pipe(duplex=False)
            given = (listener if rank == 0 else None, port)
            ranks.append(context.Process(target=_sum, args=(rank, 2, given, there), daemon=True))
            ranks[-1].start()
            there.close()  # so that the end of a rank is the end of what it says
            ends.append(here)
        assert [end.recv() for end in ends] == [(0, 2, 3.0), (1, 2, 3.0)]
        for rank in ranks:
            rank.join()
