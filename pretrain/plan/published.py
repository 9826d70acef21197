"""Published step times as cases: what was run, on what, and the seconds it took.

Read from a folder of tables that does not belong to the product (docs of each row's source are in
it); a table that is not there gives no cases. Rows of networks that cannot be written down as
layers (state-space blocks, unpublished ones) and of adapters are left out, and counted by name.
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from pretrain.model.settings import Shape
from pretrain.model.sizes import SIZES
from pretrain.plan import facts, network
from pretrain.plan.network import COLUMNS, ROWS, WHOLE, Layer, Network
from pretrain.plan.steptime import Layouts

_GPT = {"positions": "learned", "max_length": 2048, "norm": "layer", "gated": False}


def gpt(layers: int, width: int, heads: int, vocab_size: int, hidden: int = 0) -> Shape:
    given = {"biased": True, **_GPT}
    return Shape(layers, width, heads, heads, hidden or 4 * width, vocab_size, **given)  # type: ignore[arg-type]


# llm-foundry's configurations of MPT (scripts/train/yamls/pretrain), checked by their N.
MPT = {
    "125m": (12, 768, 12), "350m": (24, 1024, 16), "760m": (24, 1536, 12), "1b": (24, 2048, 16),
    "3b": (32, 2560, 20), "7b": (32, 4096, 32), "13b": (40, 5120, 40), "30b": (48, 7168, 56),
    "70b": (80, 8192, 64),
}  # fmt: skip


def latent(
    layers: int, width: int, heads: int, dense: int, dense_hidden: int, experts: int,
    per_token: int, expert_hidden: int, vocabulary: int,
) -> Network:  # fmt: skip
    """DeepSeek-V3's kind (2412.19437, section 2.1): keys and values from 512 numbers a token."""
    attention = (
        (width, 1536, WHOLE), (1536, heads * 192, COLUMNS), (width, 576, WHOLE),
        (512, heads * 256, COLUMNS), (heads * 128, width, ROWS),
    )  # fmt: skip
    plain = Layer(
        attention + network.feed_forward(width, dense_hidden, True), heads, 192, 128,
        heads * 320, dense_hidden,
    )  # fmt: skip
    shared = attention + network.feed_forward(width, expert_hidden, True)
    routed = replace(
        plain, products=(*shared, (width, experts, WHOLE)), hidden=expert_hidden, experts=experts,
        per_token=per_token, expert_hidden=expert_hidden,
        expert_products=network.feed_forward(width, expert_hidden, True),
    )  # fmt: skip
    return Network(((plain, dense), (routed, layers - dense)), width, vocabulary)


def networks() -> dict[str, Network]:
    """Networks by the name that tables give them."""
    moe = {"expert_hidden": 1536, "experts": 128, "experts_per_token": 8, "head_dim": 128}
    shapes = {
        "LLAMA3_70B": replace(SIZES["70b"], vocab_size=128256),
        "LLAMA3.1_405B": replace(SIZES["405b"], vocab_size=128256),
        "8B": replace(SIZES["8b"], vocab_size=128256),
        "Qwen3_30B_a3B": replace(SIZES["qwen3-30b-a3b"], vocab_size=151936),
        "Qwen3_235B_a22B": Shape(94, 4096, 64, 4, 12288, 151936, **moe),  # type: ignore[arg-type]
        "GPT OSS 120B": Shape(
            36, 2880, 64, 8, 2880, 201088, head_dim=64, window=128, global_every=2, experts=128,
            experts_per_token=4, expert_hidden=2880,
        ),
        "Grok1 314B MoE": Shape(
            64, 6144, 48, 8, 32768, 131072, head_dim=128, experts=8, experts_per_token=2,
            expert_hidden=32768, tied=True,
        ),
        "Nemotron4 15B": replace(
            gpt(32, 6144, 48, 256000, 24576), kv_heads=8, positions="rotary", biased=False
        ),
    }  # fmt: skip
    for name, (layers, width, heads) in MPT.items():
        shapes[f"mpt-{name}"] = replace(gpt(layers, width, heads, 50432), biased=False, tied=True)
    found = {name: network.of(shape) for name, shape in shapes.items()}
    found["DeepSeekV3"] = latent(61, 7168, 128, 3, 18432, 256, 8, 2048, 129280)
    found["Kimi_K2"] = latent(61, 7168, 64, 1, 18432, 384, 8, 2048, 163840)
    return found


@dataclass(frozen=True)
class Case:
    """A published row."""

    source: str
    name: str
    network: Network
    board: facts.Board
    length: int
    layouts: Layouts
    precision: str
    seconds: float
    gib: float = 0.0  # largest memory reserved, where it is told
    release: str = ""  # of the software

    @property
    def setting(self) -> tuple[str, ...]:
        """What a calibration run shares with a case: software, board, precision."""
        return self.source, self.board.name, self.precision

    @property
    def family(self) -> tuple[str, ...]:
        return (*self.setting, self.name)


def rows(folder: Path, name: str) -> list[dict[str, str]]:
    """The rows of a table; none where it is not there."""
    path = folder / f"{name}.csv"
    if not path.is_file():
        return []
    with path.open(newline="") as lines:
        return list(csv.DictReader(lines))


def cases(folder: Path) -> list[Case]:
    """Every row that can be written down."""
    known = networks()
    return [*_mpt(folder, known), *_bridge(folder, known), *_titan(folder, known),
            *_megatron(folder), *_dgxc(folder, known)]  # fmt: skip


def _mpt(folder: Path, known: dict[str, Network]) -> Iterator[Case]:
    boards = {"h100_80gb": "H100 SXM", "a100_80gb": "A100 SXM", "a100_40gb": "A100 SXM 40GB"}
    for row in rows(folder, "throughput_mpt_llmfoundry"):
        n, length = int(row["# GPUs"]), int(row["SeqLen (T)"])
        sharded = row["Sharding Strategy"] == "FULL_SHARD"
        at = Layouts(
            data=n, shard=n, micro_rows=int(row["MicroBatchSize"]),
            n_micro=int(row["GradAccum"]), regather=int(sharded),
            products_again=row["Activation Checkpointing"] == "True",
            kernels_again=row["Activation Checkpointing"] == "True",
        )  # fmt: skip
        yield Case(
            "llm-foundry", f"mpt-{row['Model']}", known[f"mpt-{row['Model']}"],
            facts.board(boards[row["GPU"]]), length, at,
            "fp8" if "fp8" in row["Precision"] else "bf16",
            at.micro_rows * at.n_micro * length * n / float(row["Throughput (T/s)"]),
        )  # fmt: skip


def _bridge(folder: Path, known: dict[str, Network]) -> Iterator[Case]:
    boards = {"H100": "H100 SXM", "B200": "B200 SXM", "B300": "B300 SXM"}
    for row in rows(folder, "throughput_megatron_bridge"):
        if row["model"] not in known or row["stage"] == "LoRA Performance":
            continue
        name = row["System"].removeprefix("DGX-")
        board = facts.board(boards.get(name, name))
        n, length = int(row["#-GPUs"]), int(row["Sequence Length"])
        t, p, c = (max(1, _whole(row[key])) for key in ("TP", "PP", "CP"))
        data = n // (t * p * c)
        micro = int(row["MBS"])
        sharded = _whole(row["FSDP"]) > 0
        at = Layouts(
            data=data, shard=data if sharded else 1, tensor=t, pipeline=p,
            virtual=max(1, _whole(row["VP"])) if p > 1 else 1, context=c,
            expert=max(1, _whole(row["EP"])), micro_rows=micro,
            n_micro=max(1, int(row["GBS"]) // (data * micro)), state_shard=data, expert_tensor=1,
        )  # fmt: skip
        precision = {"BF16": "bf16", "NVFP4": "fp4"}.get(row["Precision"], "fp8")
        tokens = at.n_micro * micro * data * length
        seconds = tokens / n / float(row["Tokens / sec / GPU"])
        yield Case("Megatron-Bridge", row["model"], known[row["model"]], board, length, at,
                   precision, seconds, release=row["release"])  # fmt: skip


def _titan(folder: Path, known: dict[str, Network]) -> Iterator[Case]:
    for row in rows(folder, "throughput_torchtitan"):
        n, length = int(row["gpus"]), int(row["seq_len"])
        t, c, shard = int(row["tp"]), int(row["cp"]), int(row["fsdp"])
        at = Layouts(
            data=n // (t * c), shard=shard * c, tensor=t, context=c,
            micro_rows=int(row["local_batch"]), kernels_again=1,
            # Its selective kind computes every second product again.
            products_again=1.0 if row["activation_ckpt"] == "full" else 0.5,
        )  # fmt: skip
        each = at.micro_rows * length / (t * c)
        kind = "eager" if "eager" in row["technique"] else "compile"
        board = facts.board("H200 SXM" if "H200" in row["technique"] else "H100 SXM")
        if "500 W cap" in row["source"]:
            board = board.capped(500)
        yield Case(
            f"torchtitan {kind}", row["llama31_model"], known["8B"], board, length, at,
            "fp8" if "fp8" in row["technique"] else "bf16",
            each / float(row["tokens_per_s_per_gpu"]), float(row["peak_reserved_GiB"] or 0),
        )  # fmt: skip


def _megatron(folder: Path) -> Iterator[Case]:
    for row in rows(folder, "throughput_megatron_lm_h100"):
        depth, width, length, words = (
            int(row[key]) for key in ("layers", "hidden", "seq_len", "vocab")
        )
        at = Layouts(
            data=int(row["dp"]), tensor=int(row["tp"]), pipeline=int(row["pp"]),
            n_micro=int(row["gbs"]) // int(row["dp"]), state_shard=int(row["dp"]),
        )  # fmt: skip
        tokens = int(row["gbs"]) * length
        # The table's FLOPs (Narayanan et al. 2021, equation 3, without recomputing).
        flops = 72 * tokens * depth * width**2 * (1 + length / (6 * width))
        flops += 6 * tokens * width * words
        rate = float(row["tflops_per_gpu"]) * 1e12 * int(row["gpus"])
        yield Case(
            "Megatron-LM", row["model"], network.of(gpt(depth, width, int(row["heads"]), words)),
            facts.board("H100 SXM"), length, at, "bf16", flops / rate,
        )  # fmt: skip


def _dgxc(folder: Path, known: dict[str, Network]) -> Iterator[Case]:
    for row in rows(folder, "throughput_dgxc_benchmarking"):
        n, t, p, c = (int(row[key]) for key in ("gpus", "tp", "pp", "cp"))
        data, micro = n // (t * p * c), int(row["mbs"])
        at = Layouts(
            data=data, tensor=t, pipeline=p, context=c, virtual=max(1, _whole(row["vp"])),
            micro_rows=micro, n_micro=int(row["gbs"]) // (data * micro), state_shard=data,
        )  # fmt: skip
        yield Case(
            "NeMo", row["model"], known[row["model"]], facts.board("H100 SXM"),
            int(row["seq_len"]), at, row["precision"].lower(), float(row["step_s"]),
        )  # fmt: skip


def _whole(text: str) -> int:
    try:
        return int(float(text))
    except ValueError:
        return 0
