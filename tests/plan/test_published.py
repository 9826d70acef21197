"""Published rows as cases: networks weigh what their makers say, layouts multiply to the boards."""

import pytest

from pretrain.plan import published
from tests.conftest import DATA

FOLDER = DATA / "scaling"
needs_data = pytest.mark.skipif(not FOLDER.exists(), reason="../shared/data/scaling is not here")
# Billions of parameters, in all and used by a token: model cards and reports.
TOLD = {
    "LLAMA3_70B": (70.6, 70.6), "LLAMA3.1_405B": (405.9, 405.9), "8B": (8.03, 8.03),
    "Qwen3_30B_a3B": (30.5, 3.3), "Qwen3_235B_a22B": (235, 22), "GPT OSS 120B": (116.8, 5.1),
    "DeepSeekV3": (671, 37), "Kimi_K2": (1026, 32.6), "Nemotron4 15B": (15.6, 15.6),
    "Grok1 314B MoE": (314, 84.6),
}  # fmt: skip


@pytest.mark.parametrize("name", TOLD)
def test_networks_weigh_what_is_told(name):
    net = published.networks()[name]
    lookup = 0 if net.tied else net.width * net.vocabulary
    assert net.total / 1e9 == pytest.approx(TOLD[name][0], rel=0.03)
    assert (net.active_parameters + lookup) / 1e9 == pytest.approx(TOLD[name][1], rel=0.12)


@needs_data
def test_every_row_that_can_be_written_down_is_there():
    cases = published.cases(FOLDER)
    assert len(cases) == 420
    for case in cases:
        assert case.seconds > 0
        assert case.layouts.n_micro >= 1
        assert case.layouts.shard <= case.layouts.data * case.layouts.context


def test_no_tables_no_cases(tmp_path):
    assert published.cases(tmp_path) == []
