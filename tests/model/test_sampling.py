"""Each sampler keeps what a plain loop over the tokens keeps, and draws by the shares."""

import math
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pretrain.errors import UsageError
from pretrain.model.sampling import Sampling, _first_beyond, choose, generator, shares

SAMPLINGS = st.builds(
    Sampling,
    temperature=st.sampled_from([0.3, 1.0, 2.5]),
    top_k=st.sampled_from([0, 1, 3, 8, 500]),
    top_p=st.sampled_from([0.05, 0.5, 0.9, 1.0]),
    min_p=st.sampled_from([0.0, 0.02, 0.3, 1.0]),
    repetition_penalty=st.sampled_from([0.7, 1.0, 1.4]),
)


def plain_shares(logits, sampling):
    """One row, token by token, from the definitions."""
    scaled = [x / sampling.temperature for x in logits]
    ranked = sorted(range(len(logits)), key=lambda i: -scaled[i])
    kept = ranked[: sampling.top_k or len(ranked)]
    total = sum(math.exp(scaled[i] - scaled[ranked[0]]) for i in kept)
    share = {i: math.exp(scaled[i] - scaled[ranked[0]]) / total for i in kept}
    nucleus, held = [], 0.0
    for i in kept:
        if sampling.top_p < 1 and held >= sampling.top_p:
            break
        nucleus.append(i)
        held += share[i]
    return {i: share[i] for i in nucleus if share[i] >= sampling.min_p * share[ranked[0]]}


@given(st.lists(SAMPLINGS, min_size=1, max_size=5), st.integers(0, 999))
def test_a_batch_of_settings_keeps_what_each_keeps_by_its_definition(samplings, seed):
    logits = np.random.default_rng(seed).normal(size=(len(samplings), 23)) * 3
    found = shares(torch.tensor(logits, dtype=torch.float32), samplings)
    for row, sampling in enumerate(samplings):
        wanted = plain_shares(np.float32(logits[row]).tolist(), sampling)
        assert set(found[row].nonzero()[:, 0].tolist()) == set(wanted)
        for token, share in wanted.items():
            assert float(found[row, token]) == pytest.approx(share, rel=1e-4)


@given(st.lists(SAMPLINGS, min_size=1, max_size=5), st.integers(0, 999))
def test_the_token_is_where_the_cumulative_share_passes_the_draw(samplings, seed):
    rng = np.random.default_rng(seed)
    logits = np.float32(rng.normal(size=(len(samplings), 23)) * 3)
    seen = [rng.integers(0, 23, size=n).tolist() for n in range(len(samplings))]
    generators = [generator(seed, i) for i in range(len(samplings))]
    tokens = choose(torch.tensor(logits), samplings, generators, seen)
    for row, sampling in enumerate(samplings):
        penalised = [
            float(x if i not in seen[row] else x / r if x > 0 else x * r)
            for r in [sampling.repetition_penalty]
            for i, x in enumerate(logits[row])
        ]
        share = plain_shares(penalised, sampling)
        u = generator(seed, row).random() * sum(share.values())
        below = sum(p for i, p in share.items() if i < tokens[row])
        assert tokens[row] in share
        assert below - 1e-5 <= u <= below + share[tokens[row]] + 1e-5


def test_settings_without_effect_do_nothing_and_temperature_zero_takes_the_likeliest():
    logits = torch.randn(4, 50, generator=torch.Generator().manual_seed(0))
    everything = shares(logits, [Sampling(1.0)] * 4)
    assert torch.equal(everything, logits.softmax(-1))
    greedy = choose(logits, [Sampling(top_k=3, top_p=0.1)] * 4, [generator(0, 0)] * 4, [()] * 4)
    assert greedy == logits.argmax(-1).tolist()
    nearly = choose(logits, [Sampling(1e-300)] * 4, [generator(0, 0)] * 4, [()] * 4)
    assert nearly == greedy


def test_repetition_makes_what_was_there_less_likely_whatever_its_sign():
    logits = torch.tensor([[3.0, 2.9, -1.0, -1.1]])
    sampling = [Sampling(repetition_penalty=1.5)]
    assert choose(logits, sampling, [generator(0, 0)], [[0]]) == [1]
    assert choose(logits[:, 2:], sampling, [generator(0, 0)], [[0]]) == [1]
    assert choose(logits, sampling, [generator(0, 0)], [()]) == [0]


def test_equals_at_the_border_of_top_k_all_stay():
    kept = shares(torch.tensor([[1.0, 2.0, 1.0, 0.0]]), [Sampling(1.0, top_k=2)])
    assert kept[0].nonzero()[:, 0].tolist() == [0, 1, 2]


def test_draws_follow_the_shares():
    logits = torch.tensor([0.5, 2.0, 1.0, -1.0, 1.5])
    n, draw = 3000, generator(0, 0)
    for sampling, kept in ((Sampling(0.7), range(5)), (Sampling(1.3, top_k=3), (1, 2, 4))):
        drawn = Counter(choose(logits[None], [sampling], [draw], [()])[0] for _ in range(n))
        assert drawn.keys() <= set(kept)
        wanted = (logits[list(kept)] / sampling.temperature).softmax(0).tolist()
        for token, p in zip(kept, wanted, strict=True):
            assert abs(drawn[token] / n - p) < 4.5 * (p * (1 - p) / n) ** 0.5


def test_no_draw_takes_a_token_without_a_share():
    share = torch.tensor([[0.0, 0.5, 0.0, 0.3, 0.0]])
    last = np.nextafter(1.0, 0.0)
    drawn = [int(_first_beyond(share, torch.tensor([u]).double())) for u in (0.0, last)]
    assert drawn == [1, 3]


@pytest.mark.parametrize(
    ("name", "value"),
    [("temperature", -0.1), ("temperature", math.nan), ("temperature", math.inf), ("top_k", -1),
     ("top_p", 0.0), ("top_p", 1.1), ("min_p", -0.1), ("min_p", 2.0), ("repetition_penalty", 0.0),
     ("seed", -1), ("seed", 2**64)],
)  # fmt: skip
def test_values_out_of_range_are_refused_by_name(name, value):
    with pytest.raises(UsageError, match=name):
        Sampling(**{name: value})
