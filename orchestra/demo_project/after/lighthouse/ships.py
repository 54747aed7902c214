"""The ships that pass in the night."""

from dataclasses import dataclass

from lighthouse.weather import Weather, is_foggy, is_gale

GALE_LIMIT = 8  # knots


@dataclass(frozen=True)
class Ship:
    name: str
    knots: int


def safe_speed(ship: Ship, weather: Weather) -> int:
    """The knots at which a careful captain passes the rock."""
    knots = min(ship.knots, GALE_LIMIT) if is_gale(weather) else ship.knots
    return knots // 2 if is_foggy(weather) else knots
