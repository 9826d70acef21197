"""Money, energy and carbon of a run, with what is assumed.

    final run    board-hours billed · price
    research     final run · (ratio − 1): all of a project over its final run
    evaluation   final run · 2 %, assumed
    storage      tokens and kept checkpoints, dollars a GB and month

    energy       Σ (hours in steps · share + other hours · idle share) · watts · node · PUE
    carbon       energy · the grid's intensity

Published totals follow the same product with shares of 1 and no node: LLaMA's 449 MWh, OLMo 2's
52 t. Prices are dated (facts/prices.toml); one's own stand above them.
"""

from dataclasses import dataclass

from pretrain.errors import UsageError
from pretrain.plan.facts import Board, fact, table

EVALUATION = 0.02  # of the final run, assumed
_USD_PER_GB_MONTH = 0.023  # object storage's list price, assumed
_KEPT_CHECKPOINTS = 10


@dataclass(frozen=True)
class Energy:
    """kWh of boards alone, of everything; kg of CO2; what was assumed."""

    boards_kwh: float
    kwh: float
    kg_co2: float
    assumed: dict[str, float]


def board_kwh(hours: float, watts: float, share: float = 1.0) -> float:
    """Of so many board-hours."""
    return hours * watts * share / 1000


def energy(
    board: Board, ideal_hours: float, billed_hours: float, grid: str = "world",
    pue: float | None = None,
) -> Energy:  # fmt: skip
    """ideal_hours, billed_hours: board-hours. What is billed beyond ideal time is taken as idle."""
    power = {name: fact("energy", "power", name)["value"] for name in ("step", "idle", "node")}
    hall = pue if pue is not None else fact("energy", "pue", "default")["value"]
    if hall < 1:
        raise UsageError(f"--pue is {hall}; must be at least 1")
    busy = board_kwh(ideal_hours, board.watts, power["step"])
    idle = board_kwh(max(0.0, billed_hours - ideal_hours), board.watts, power["idle"])
    intensity = fact("energy", "grid", grid)["kg_per_kwh"]
    total = (busy + idle) * power["node"] * hall
    assumed = {
        "share of board power in steps": power["step"],
        "share of board power else": power["idle"],
        "node over boards": power["node"],
        "power usage effectiveness": hall,
        f"kg CO2 a kWh ({grid})": intensity,
    }
    return Energy(busy + idle, total, carbon(total, intensity), assumed)


def carbon(kwh: float, kg_per_kwh: float) -> float:
    """kg of CO2."""
    return kwh * kg_per_kwh


def price(board: Board, own: float | None = None) -> tuple[float, str]:
    """(dollars an hour of a board, where that is from). UsageError where none is known."""
    if own is not None:
        if own <= 0:
            raise UsageError(f"--price is {own}; must be above 0")
        return own, "given"
    rows = table("prices")
    if board.name not in rows:
        known = ", ".join(sorted(rows))
        raise UsageError(f"no price of {board.name} is known ({known}); give --price USD_PER_HOUR")
    row = rows[board.name]
    return row["median"], f"{row['date']}, {row['low']:.2f} to {row['high']:.2f}: {row['source']}"


def cost(
    board_hours: float, usd_per_hour: float, research: float, tokens: float, state_bytes: float,
    months: float,
) -> dict[str, float]:  # fmt: skip
    """Dollars by part. research: all compute over the final run's."""
    final = board_hours * usd_per_hour
    gigabytes = (4 * tokens + _KEPT_CHECKPOINTS * state_bytes) / 1e9
    return {
        "final run": final,
        "research": final * (research - 1),
        "evaluation": final * EVALUATION,
        "storage": gigabytes * _USD_PER_GB_MONTH * max(1.0, months),
    }
