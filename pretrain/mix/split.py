"""Held-out documents: whole clusters of near-duplicates, chosen by hash, a share of each source.

Curation gave every kept document a cluster: documents that share half of their word 5-grams carry
the same one. A cluster is held out whole or trained whole, so no near-duplicate of a training
document is held out (as far as MinHash finds them: 84 % of pairs at a Jaccard of 0.5, 98 % at 0.6,
99.9 % at 0.7).
Clusters are taken in the order of hash(seed, cluster) while no source exceeds its share; a cluster
too large for that is trained on.
"""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash


def held_out(documents: pa.Table, limits: Mapping[str, int], seed: int) -> np.ndarray:
    """A mask over documents (columns cluster, source, n_tokens): True where held out.

    limits: at most so many tokens per source. A source whose limit admits no whole cluster gives
    its smallest one, unless that would leave it, or a source that shares it, nothing to train on.
    """
    clusters = pc.dictionary_encode(documents["cluster"].combine_chunks())
    codes = clusters.indices.to_numpy()
    names = clusters.dictionary.to_pylist()
    sources = documents["source"].to_pylist()
    n_tokens = documents["n_tokens"].to_numpy()
    members: list[dict[str, int]] = [{} for _ in names]
    for code, source, n in zip(codes.tolist(), sources, n_tokens.tolist(), strict=True):
        members[code][source] = members[code].get(source, 0) + n
    order = sorted(range(len(names)), key=lambda c: _hash(seed, names[c]))
    taken = dict.fromkeys(limits, 0)
    chosen = np.zeros(len(names), dtype=bool)
    for code in order:
        if all(taken[s] + n <= limits[s] for s, n in members[code].items()):
            chosen[code] = True
            for source, n in members[code].items():
                taken[source] += n
        elif all(taken[s] >= limits[s] for s in limits):
            break
    total = {s: sum(m.get(s, 0) for m in members) for s in limits}
    for source in limits:
        own = [
            c
            for c in order
            if source in members[c] and all(taken[s] + n < total[s] for s, n in members[c].items())
        ]
        if taken[source] == 0 and own:
            smallest = min(own, key=lambda c: (sum(members[c].values()), names[c]))
            chosen[smallest] = True
            for s, n in members[smallest].items():
                taken[s] += n
    return chosen[codes]


def _hash(seed: int, cluster: str) -> tuple[int, str]:
    return xxhash.xxh3_64_intdigest(f"{seed}\0{cluster}".encode()), cluster
