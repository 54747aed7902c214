"""The view from the sea."""

from lighthouse.lamp import beam
from lighthouse.weather import Weather


def draw(weather: Weather) -> str:
    """The rock, the tower, and as much of the beam as one sees."""
    lines = [
        "     .",
        "    /_\\",
        "    |o|" + beam(weather),
        "    | |",
        "~~~~|_|" + "~" * 24,
    ]
    return "\n".join(lines)
