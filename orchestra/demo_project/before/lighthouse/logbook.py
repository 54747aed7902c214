"""The keeper's log: one line an hour, in good handwriting."""

from lighthouse.kettle import brew
from lighthouse.lamp import flashes
from lighthouse.ships import Ship, safe_speed
from lighthouse.weather import Weather, describe


def entry(hour: int, weather: Weather, ship: Ship) -> str:
    """The line for one hour and the ship that passed in it."""
    notes = [
        describe(weather),
        f"lamp at {flashes(weather)}",
        f"{ship.name} at {safe_speed(ship, weather)} knots",
        brew(hour, weather),
    ]
    return f"{hour:02}:00  " + "; ".join(notes)
