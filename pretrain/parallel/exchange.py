"""Pieces of matrices to the ranks that work on them whole, and pieces of the results back.

    gather     every rank sends its piece of a matrix to the matrix's owner        one all-to-all
    scatter    the owner sends every rank its piece of the result                  one all-to-all

All matrices travel together: two collectives, however many there are, where gathering each on every
rank costs one a matrix and as many copies of the work as ranks. Over the ranks of one stage a
matrix has one owner, replicas included: of several ranks that hold the same piece the one on the
owner's own replica sends it, and the result goes to all of them. The plan is a pure function of
layout, shapes and owners.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from pretrain.parallel import pieces
from pretrain.parallel.mesh import Mesh
from pretrain.parallel.pieces import Piece

_AXES = ("replicate", "shard", "context", "tensor")


def ranks_of(mesh: Mesh) -> list[int]:
    """The ranks that share the work on one stage's matrices."""
    return mesh.ranks(*_AXES)


class Exchange:
    """Who sends which piece to whom; `owner`: a number in ranks_of(mesh) by name."""

    def __init__(self, tensors: Mapping[str, Tensor], owner: Mapping[str, int], mesh: Mesh) -> None:
        self.shapes = {name: tuple(t.shape) for name, t in tensors.items()}
        self.own = {name: pieces.piece(t) for name, t in tensors.items()}
        self._group = mesh.group(*_AXES)
        ranks = ranks_of(mesh)
        me = ranks.index(mesh.rank)
        places = [mesh.places(rank) for rank in ranks]
        # By the rank at the other end: names and pieces, in the order of `tensors` for both.
        self._given: list[list[tuple[str, Piece]]] = [[] for _ in ranks]
        self._taken: list[list[tuple[str, Piece]]] = [[] for _ in ranks]
        self._back: list[list[tuple[str, Piece]]] = [[] for _ in ranks]
        for name, tensor in tensors.items():
            others = [a for a in _AXES if a not in pieces.cutting_axes(tensor)]
            end = owner[name]

            def beside(rank: int, end: int = end, others: list[str] = others) -> bool:
                return all(places[rank][axis] == places[end][axis] for axis in others)

            if beside(me):
                self._given[end].append((name, self.own[name]))
            if end == me:
                for number, rank in enumerate(ranks):
                    there = pieces.piece_on(tensor, mesh, rank)
                    self._back[number].append((name, there))
                    if beside(number):
                        self._taken[number].append((name, there))
        self._mine: list[list[tuple[str, Piece]]] = [[] for _ in ranks]
        for name in tensors:
            self._mine[owner[name]].append((name, self.own[name]))

    def gather(self, parts: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The whole of what this rank owns, from every rank's pieces."""
        give = [[parts[name] for name, _ in there] for there in self._given]
        like = next(iter(parts.values()))
        taken = self._swap(give, self._taken, like)
        whole: dict[str, Tensor] = {}
        for there, tensors in zip(self._taken, taken, strict=True):
            for (name, piece), tensor in zip(there, tensors, strict=True):
                if name not in whole:
                    whole[name] = like.new_empty(self.shapes[name])
                whole[name][piece.slices] = tensor
        return whole

    def scatter(self, whole: Mapping[str, Tensor], like: Tensor) -> dict[str, Tensor]:
        """This rank's pieces of all, from the whole on their owners; like: for dtype and device."""
        give = [[whole[name][piece.slices] for name, piece in there] for there in self._back]
        taken = self._swap(give, self._mine, like)
        return {
            name: tensor
            for there, tensors in zip(self._mine, taken, strict=True)
            for (name, _), tensor in zip(there, tensors, strict=True)
        }

    def _swap(
        self, give: list[list[Tensor]], take: list[list[tuple[str, Piece]]], like: Tensor
    ) -> list[list[Tensor]]:
        """One all-to-all of flat buffers; what came, rank by rank, in its pieces' sizes."""
        import torch.distributed as dist

        n_given = [sum(t.numel() for t in there) for there in give]
        n_taken = [sum(piece.n_elements for _, piece in there) for there in take]
        out = torch.cat([like.new_empty(0), *(t.reshape(-1) for there in give for t in there)])
        into = like.new_empty(sum(n_taken))
        dist.all_to_all_single(into, out, n_taken, n_given, group=self._group)
        came = []
        for there, flat in zip(take, into.split(n_taken), strict=True):
            parts = flat.split([piece.n_elements for _, piece in there]) if there else ()
            came.append([t.view(p.size) for t, (_, p) in zip(parts, there, strict=True)])
        return came
