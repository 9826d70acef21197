"""Ranks on gloo for tests: a function is called on each of them, what it returns comes back.

They are forked from a server that has imported torch once and has never computed: a world of four
takes about a second.
"""

import multiprocessing
import traceback
from tempfile import TemporaryDirectory

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(
    ["torch", "torch.distributed.fsdp", "torch.distributed.tensor.parallel",
     "torch.distributed.pipelining", "pretrain.train.loop", __name__]
)  # fmt: skip


def run(n, function, *arguments):
    """What `function(rank, *arguments)` returns on each of n ranks; it and they can be pickled.

    Results are plain values or arrays: tensors would share memory with a process that has ended.
    """
    with TemporaryDirectory() as folder:
        ends = []
        for rank in range(n):
            here, there = _context.Pipe(duplex=False)
            ends.append((here, _context.Process(
                target=_rank, args=(rank, n, f"{folder}/store", there, function, arguments),
                daemon=True,
            )))  # fmt: skip
            ends[-1][1].start()
            there.close()
        try:
            results = [here.recv() for here, _ in ends]
        except EOFError:
            results = [(False, "a rank ended without a word")]
        for _, process in ends:
            if not all(sound for sound, _ in results):
                process.kill()
            process.join()
    wrong = [text for sound, text in results if not sound]
    assert not wrong, "\n\n".join(wrong)
    return [result for _, result in results]


def _rank(rank, n, store, there, function, arguments):
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    try:
        dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=n)
        result = (True, function(rank, *arguments))
        dist.barrier()
        dist.destroy_process_group()
    except BaseException:
        result = (False, f"rank {rank}\n{traceback.format_exc()}")
    there.send(result)
