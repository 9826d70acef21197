"""A folder in the memory of this host that outlives the ranks of an attempt: for their replicas.

It belongs to the supervisor, which holds its lock: empty when a run begins, gone when it ends,
whatever its attempts come to. Whoever starts ranks in another way, or hosts again and again, names
a folder of their own in PRETRAIN_REPLICAS and looks after it; what lies in it is used only by the
training it is of.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from pretrain import store
from pretrain.ranks.place import REPLICAS

MEMORY = Path("/dev/shm")


@contextlib.contextmanager
def kept(own: Path) -> Iterator[dict[str, str]]:
    """What ranks are told of the folder, as variables; nothing where the host has no such place.

    own: what the supervisor has locked.
    """
    if REPLICAS in os.environ:
        yield {REPLICAS: os.environ[REPLICAS]}
        return
    if not MEMORY.is_dir():
        yield {}
        return
    name = store.hash_bytes(str(own.absolute()).encode())[:16]
    folder = MEMORY / f"pretrain-{os.getuid()}-{name}"
    store.remove(folder)  # of a supervisor that was killed
    folder.mkdir(mode=0o700)
    try:
        yield {REPLICAS: str(folder)}
    finally:
        store.remove(folder)
