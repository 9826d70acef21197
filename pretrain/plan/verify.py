"""`pretrain plan verify`: published cases told again, and how far from them.

Each case is a function from the folder of tables to rows (case, what, expected, found, error,
tolerance, holds). Where its table is not there a case gives no rows, and that is said. Cases of
time are told uncalibrated unless the row says "after the others": the multipliers then rest on the
case's other rows, never on its own.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from pretrain.errors import UsageError
from pretrain.model import count
from pretrain.model.settings import Shape
from pretrain.plan import (
    accuracy,
    bill,
    calibrate,
    facts,
    goodput,
    memory,
    network,
    published,
    search,
    steptime,
)  # fmt: skip
from pretrain.plan.network import Network
from pretrain.plan.steptime import Layouts

TABLES = Path(__file__).resolve().parents[3] / "shared" / "data" / "scaling"


class Told(NamedTuple):
    """A row as it is printed. error: relative unless `what` says otherwise."""

    case: str
    what: str
    expected: float
    found: float
    error: float
    tolerance: float
    holds: bool


@dataclass(frozen=True)
class Row:
    """One number of a case."""

    case: str
    what: str
    expected: float
    found: float
    tolerance: float
    relative: bool = True

    @property
    def error(self) -> float:
        apart = self.found - self.expected
        return apart / abs(self.expected) if self.relative else apart

    @property
    def told(self) -> Told:
        holds = abs(self.error) <= self.tolerance
        return Told(self.case, self.what, self.expected, self.found, self.error, self.tolerance,
                    holds)  # fmt: skip


def v01(folder: Path) -> Iterator[Row]:
    """MFU by 6N + 12LdS; the row that is furthest off stands for all."""
    rows = []
    for row in published.rows(folder, "throughput_mpt_llmfoundry"):
        layers, width, _ = published.MPT[row["Model"]]
        board = facts.board("H100 SXM" if row["GPU"].startswith("h100") else "A100 SXM")
        peak = board.peak("fp8" if "fp8" in row["Precision"] else "bf16")
        rate = float(row["Throughput (T/s)"]) / int(row["# GPUs"])
        flops = 6 * int(row["NumParams"]) + 12 * layers * width * int(row["SeqLen (T)"])
        what = f"MFU % of MPT {row['Model']}"
        rows.append(Row("V01", what, float(row["MFU"]), 100 * rate * flops / peak, 0.001))
    if rows:
        worst = max(rows, key=lambda row: abs(row.error))
        yield replace(worst, what=f"{worst.what}, worst of {len(rows)}")


def v02(folder: Path) -> Iterator[Row]:
    """Causal, without embedding: TFLOP/s over tokens/s of published rows."""
    shapes = published.networks()
    for name, told in (("LLAMA3_70B", 4.492e11), ("LLAMA3.1_405B", 2.524e12)):
        shape = shapes[name].shape
        assert shape is not None
        found = count.conventions(shape, 8192)["causal, without embedding"]
        yield Row("V02", f"FLOP a token, {name}", told, found, 0.001)


def v03(folder: Path) -> Iterator[Row]:
    shape = published.networks()["LLAMA3.1_405B"].shape
    assert shape is not None
    found = 15.6e12 * count.conventions(shape, 8192)["6N"]
    yield Row("V03", "FLOP of Llama 3.1 405B", 3.8e25, found, 0.01)


def v04(folder: Path) -> Iterator[Row]:
    """Stages a rank are not published: one block a stage (126 blocks and both ends on 16 x 8)."""
    task = search.Task(published.networks()["LLAMA3.1_405B"], facts.board("H100 SXM"), 0, 8192, 0)
    refused, printed = 0, published.rows(folder, "llama3_table4")
    for row in printed:
        n, t, c, p, d = (int(row[key]) for key in ("gpus", "tp", "cp", "pp", "dp"))
        try:
            search.check_product(n, tensor=t, context=c, pipeline=p, data=d)
        except UsageError:
            refused += 1
            continue
        micro = int(row["batch_per_dp"])
        at = Layouts(d, d, t, p, 8, c, micro_rows=1, n_micro=micro, regather=0)
        step = _told(task.network, task.board, int(row["seq_len"]), at, "eager")
        flops = d * micro * task.length * task.network.flops_per_token(task.length)
        what = f"TFLOP/s a board, Llama 3 405B on {n:,}"
        yield Row("V04", what, float(row["tflops_per_gpu"]), flops / n / step / 1e12, 0.10)
    if printed:
        what = "rows refused, whose sizes do not multiply to the boards"
        yield Row("V04", what, 1, refused, 0, False)


# Korthikanti et al. 2022, tables 3 and 5: layers, width, heads, pipeline, virtual, batch, rows of a
# micro-batch, seconds, GiB of activations without and with their two means.
KORTHIKANTI = {
    "22B": (48, 6144, 64, 1, 1, 4, 4, 1.10, 59.25, 9.5625),
    "175B": (96, 12288, 96, 8, 3, 64, 1, 13.75, 66.84, 12.35),
    "530B": (105, 20480, 128, 35, 3, 280, 1, 37.83, 114.02, 23.08),
    "1T": (128, 25600, 160, 64, 1, 512, 1, 71.49, 131.25, 26.56),
}


def v05(folder: Path) -> Iterator[Row]:
    for name, row in KORTHIKANTI.items():
        net, at = _korthikanti(row)
        found = _told(net, facts.board("A100 SXM"), 2048, at, "megatron")
        yield Row("V05", f"seconds a step, Megatron {name}", row[7], found, 0.10)


def v06(folder: Path) -> Iterator[Row]:
    for name, row in KORTHIKANTI.items():
        net, at = _korthikanti(row)
        for what, told, habits in (
            ("as it was", row[8], memory.MEGATRON_PLAIN), ("sequence, selective", row[9],
                                                           memory.MEGATRON),
        ):  # fmt: skip
            found = float(memory.activation_bytes(net, 2048, at, habits)) / facts.GIB
            yield Row("V06", f"GiB of activations, {name}, {what}", told, found, 0.01)


def v07(folder: Path) -> Iterator[Row]:
    cases = [c for c in published.cases(folder) if c.source == "Megatron-LM"]
    found = after_the_others(cases, "megatron")
    for case, step in zip(cases, found, strict=True):
        what = f"seconds a step, Megatron-LM {case.name}, after the others"
        yield Row("V07", what, case.seconds, step, 0.10)
    if cases:
        errors = [abs(s / c.seconds - 1) for c, s in zip(cases, found, strict=True)]
        yield Row("V07", "mean error of them", 0, sum(errors) / len(errors), 0.05, False)


def v08(folder: Path) -> Iterator[Row]:
    hall = facts.fact("energy", "pue", "llama")["value"]
    found = bill.board_kwh(1_022_362, facts.board("A100 SXM").watts) * hall / 1000
    yield Row("V08", "MWh of LLaMA 65B", 449, found, 0.01)
    grid = facts.fact("energy", "grid", "us")["kg_per_kwh"]
    yield Row("V08", "t CO2 of LLaMA 65B", 173, bill.carbon(found, grid), 0.01)


def v09(folder: Path) -> Iterator[Row]:
    for name, mwh, hall, told in (("7b", 131, 1.2, 52), ("13b", 257, 1.12, 101)):
        grid = facts.fact("energy", "grid", f"olmo-2-{name}")["kg_per_kwh"]
        yield Row("V09", f"t CO2 of OLMo 2 {name}", told, bill.carbon(mwh * hall, grid), 0.01)


def v10(folder: Path) -> Iterator[Row]:
    usd, _ = bill.price(facts.board("H800"))
    parts = {"final run": (2.664e6, 5.328e6), "context": (119e3, 0.238e6), "post": (5e3, 0.010e6)}
    for name, (hours, told) in parts.items():
        found = bill.cost(hours, usd, 1, 0, 0, 0)["final run"]
        yield Row("V10", f"$ of DeepSeek-V3, {name}", told, found, 0.001)
    total = sum(bill.cost(hours, usd, 1, 0, 0, 0)["final run"] for hours, _ in parts.values())
    yield Row("V10", "$ of DeepSeek-V3", 5.576e6, total, 0.001)


def v16(folder: Path) -> Iterator[Row]:
    for case in published.cases(folder):
        if case.source == "torchtitan compile" and case.gib and case.precision == "bf16":
            n = int(case.layouts.ranks)
            step = _told(case.network, case.board, case.length, case.layouts, "compiled")
            rate = case.layouts.micro_rows * case.length
            told = rate / case.seconds
            yield Row("V16", f"tokens/s a board, Llama 3 8B on {n}", told, rate / step, 0.10)
            parts = memory.bytes_by_part(case.network, case.length, case.layouts, memory.TITAN)
            gib = float(sum(parts.values())) / facts.GIB
            yield Row("V16", f"GiB of it, {n} boards, at most 10 % above", case.gib, gib, 0.10)
            yield Row("V16", f"GiB below, {n} boards", 0, max(0.0, case.gib - gib), 0, False)


def v17(folder: Path) -> Iterator[Row]:
    rate = facts.fact("failures", "rate", "llama-3-405b")["per_1000_board_days"]
    yield Row("V17", "hours between failures, Llama 3 405B", 3.09,
              goodput.hours_between_failures(rate, 16384), 0.005)  # fmt: skip
    state = 12 * published.networks()["LLAMA3.1_405B"].total / 16384
    found = goodput.goodput(54 * 24, 16384, state, per_1000_board_days=rate)
    what = "effective share; more than 0.90 is published"
    yield Row("V17", what, 0.90, 1 - found.lost, 0.03, False)


def v18(folder: Path) -> Iterator[Row]:
    """d24: windows of 1,024 in three of four layers, 32,768 words (4.945e9 FLOP a token)."""
    shape = Shape(24, 1536, 12, 12, 6144, 32768, gated=False, window=1024, global_every=4)
    at = Layouts(data=8, micro_rows=32)
    step = _told(network.of(shape), facts.board("H100 SXM"), 2048, at, "compiled")
    yield Row("V18", "seconds of nanochat d24", 10_949, 16_704 * step, 0.15)


CASES: dict[str, Callable[[Path], Iterator[Row]]] = {
    "V01": v01, "V02": v02, "V03": v03, "V04": v04, "V05": v05, "V06": v06, "V07": v07, "V08": v08,
    "V09": v09, "V10": v10, "V16": v16, "V17": v17, "V18": v18,
}  # fmt: skip


def after_the_others(cases: list[published.Case], software: str) -> list[float]:
    """Seconds of each case with multipliers from all of the others."""
    found = [accuracy.costs_of(case) for case in cases]
    told = []
    for i in range(len(cases)):
        others = [j for j in range(len(cases)) if j != i]
        belief = calibrate.shrink(
            calibrate.believed(software), calibrate.together([found[j] for j in others]),
            [cases[j].seconds for j in others],
        )  # fmt: skip
        told.append(float(steptime.seconds(found[i], belief.multipliers)))
    return told


def verify(folder: Path) -> list[Told]:
    """All cases' rows. UsageError where the tables are not there."""
    if not (folder / "validation_cases.csv").is_file():
        raise UsageError(f"{folder} has no validation_cases.csv; give --tables FOLDER")
    return [
        row.told if isinstance(row, Row) else Told(*row)
        for case in all_cases().values() for row in case(folder)
    ]  # fmt: skip


def all_cases() -> dict[str, Callable[[Path], Any]]:
    from pretrain.plan import verify_laws

    return dict(sorted((CASES | verify_laws.CASES).items()))


def render(rows: list[Told]) -> str:
    """A table of at most 100 columns."""
    lines = [f"{'case':<9}{'what':<50}{'expected':>11}{'found':>11}{'error':>9}{'allowed':>9}"]
    for row in rows:
        what = row.what if len(row.what) <= 49 else row.what[:48] + "…"
        mark = "" if row.holds else "!"
        lines.append(
            f"{row.case:<9}{what:<50}{row.expected:>11.5g}{row.found:>11.5g}"
            f"{row.error:>+9.4f}{row.tolerance:>9g}{mark}"
        )
    held = sum(row.holds for row in rows)
    return "\n".join([*lines, f"{held} of {len(rows)} hold; ! marks what does not"])


def render_accuracy(rows: list[dict[str, Any]]) -> str:
    """Errors of step time beside those of simple rules."""
    lines = [f"{'step time told by':<40}{'rows':>6}{'median error':>15}{'90 % below':>13}"]
    lines += [
        f"{row['way']:<40}{row['rows']:>6}{100 * row['median']:>13.1f} %{100 * row['p90']:>11.1f} %"
        for row in rows
    ]
    return "\n".join(lines)


def _told(net: Network, board: facts.Board, length: int, at: Layouts, software: str) -> float:
    found = steptime.costs(net, board, length, at)
    return float(steptime.seconds(found, calibrate.believed(software).multipliers))


def _korthikanti(row: tuple[Any, ...]) -> tuple[Network, Layouts]:
    layers, width, heads, p, v, batch, micro = row[:7]
    at = Layouts(data=1, tensor=8, pipeline=p, virtual=v, micro_rows=micro,
                 n_micro=batch // micro, scores=1)  # fmt: skip
    return network.of(published.gpt(layers, width, heads, 51200)), at
