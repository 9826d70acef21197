"""The state of the last steps in the memory of the hosts: for ranks that are started again.

    part        what some ranks hold alike, called by the smallest of them (mesh.py)
    own         each part in a folder in memory of each host that has a rank with it
    copy        where one host alone has a part: on the next host too; of one host: beside it
    slots       two, in turn: while one is being written the other holds the step before it

Folders outlive an attempt (launch/memory.py). Ranks that are started again agree on the newest step
of which every part lies somewhere with its checksum, of this training and this layout; what a host
lacks is sent to it. So a killed rank, a torn or damaged file and a lost host cost no step, two
neighbouring hosts lost at once do. Files carry the attempt that wrote them: parts that two attempts
computed are never put together.

Price: of each part four files, two in the place of its own and two as copies; a step that writes
waits for a checksum and a copy in memory, over hosts for one transfer.
"""

import socket
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pretrain import store
from pretrain.ranks import blob
from pretrain.ranks.world import World

Order = tuple[int, int]  # rollbacks so far, step: how far a training is


class Replicas:
    """parts: of each rank; about: what a replica must be of, to be of use."""

    def __init__(
        self, world: World, parts: list[int], about: str, folder: Path, every: int
    ) -> None:
        self.world, self.parts, self.about = world, parts, about
        self.folder, self.every = folder, every
        self.attempt: int = world.broadcast(time.time_ns())
        self.n_bytes = 0  # of this rank's last file
        self.hosts: list[str] = world.gather(f"{socket.gethostname()}:{folder}")
        self.mates = [r for r in range(world.size) if self.hosts[r] == self.hosts[world.rank]]
        self.writers: dict[tuple[str, int], int] = {}
        for rank in range(world.size):
            self.writers.setdefault((self.hosts[rank], parts[rank]), rank)
        self.keepers = self._keepers()

    def _keepers(self) -> dict[int, int]:
        """Which rank of the next host keeps a copy of what a writer wrote; of several hosts."""
        names = list(dict.fromkeys(self.hosts))
        found: dict[int, int] = {}
        if len(names) == 1:
            return found
        n_hosts_of = Counter(part for _, part in self.writers)
        for (host, part), writer in self.writers.items():
            if n_hosts_of[part] == 1:
                after = names[(names.index(host) + 1) % len(names)]
                there = [rank for rank, name in enumerate(self.hosts) if name == after]
                local = self.hosts[:writer].count(host)
                found[writer] = there[local % len(there)]
        return found

    def is_due(self, step: int) -> bool:
        return step % self.every == 0

    def write(self, order: Order, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Keep the state after a step; called by every rank. tensors: what this rank holds."""
        rank, part = self.world.rank, self.parts[self.world.rank]
        slot = order[1] // self.every % 2
        one_host = len(self.mates) == self.world.size
        if not one_host:
            self.world.total(0)  # what rank 0 records of the step is on the disk
        if self.writers[self.hosts[rank], part] == rank:
            names = ("own", "copy") if one_host else ("own",)
            paths = [self.folder / f"{name}-{part:06d}-{slot}" for name in names]
            told = {"about": self.about, "order": order, "attempt": self.attempt, "part": part,
                    "facts": facts}  # fmt: skip
            self.n_bytes = blob.write(paths, tensors, told)
        for writer, keeper in self.keepers.items():
            name = f"{self.parts[writer]:06d}-{slot}"
            self._send(writer, keeper, f"own-{name}", f"copy-{name}")

    def newest(self, usable: Callable[[Order], bool]) -> tuple[Order, Path] | None:
        """The newest complete set that is usable: how far it is, and where this rank's part lies.

        None where there is none; then nothing is kept. Called by every rank, with one answer.
        """
        share = slice(self.mates.index(self.world.rank), None, len(self.mates))
        here = [(path.name, blob.told(path)) for path in sorted(self.folder.glob("*-*-*"))[share]]
        said = self.world.gather(
            [(told["order"], told["attempt"], told["part"], name)
             for name, told in here if told and told["about"] == self.about]
        )  # fmt: skip
        sets: dict[tuple[int, ...], dict[int, dict[str, str]]] = {}
        for host, files in zip(self.hosts, said, strict=True):
            for order, attempt, part, name in files:
                sets.setdefault((*order, attempt), {}).setdefault(part, {})[host] = name
        complete = [
            key for key, of in sets.items() 
            if {*self.parts} <= of.keys() and usable((key[0], key[1]))
        ]  # fmt: skip
        if not complete:
            self.discard()
            return None
        key = max(complete)
        return (key[0], key[1]), self._bring(sets[key])

    def discard(self) -> None:
        """Remove what lies here: a later attempt must not find it, with steps between undone."""
        if self.world.rank == self.mates[0]:
            for path in self.folder.glob("*-*-*"):
                store.remove(path)

    def _bring(self, lies: dict[int, dict[str, str]]) -> Path:
        """Send parts to hosts that lack them. lies: by part and host, the name of a file."""
        sent = False
        for (host, part), writer in self.writers.items():
            if host not in lies[part]:
                giver = min(lies[part])
                name = lies[part][giver]
                lies[part][host] = f"own-{name.partition('-')[2]}"
                sent = True
                self._send(self.hosts.index(giver), writer, name, lies[part][host])
        if sent:
            self.world.total(0)  # a file is read by others than who received it
        return self.folder / lies[self.parts[self.world.rank]][self.hosts[self.world.rank]]

    def _send(self, giver: int, taker: int, name: str, as_name: str) -> None:
        """Send a file of one rank's folder to another one's; those two wait for it."""
        import torch.distributed as dist

        if self.world.rank == giver:
            data = blob.raw(self.folder / name)
            dist.send(torch.tensor([data.numel()]), taker)
            dist.send(data, taker)
        elif self.world.rank == taker:
            n_bytes = torch.zeros(1, dtype=torch.int64)
            dist.recv(n_bytes, giver)
            data = torch.empty(int(n_bytes), dtype=torch.uint8)
            dist.recv(data, giver)
            blob.put(self.folder / as_name, data)
