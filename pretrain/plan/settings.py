"""Assumptions of the forecast."""

from dataclasses import dataclass

from pretrain.settings import setting


@dataclass(frozen=True)
class Settings:
    watts_per_core: float = setting(
        10.0, "assumed draw of a busy processor core; energy is an estimate", above=0
    )
    kg_co2_per_kwh: float = setting(0.4, "assumed carbon intensity of the grid", low=0)
