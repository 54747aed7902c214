"""The fog horn, for when the lamp cannot be seen."""

from lighthouse.weather import Weather, is_foggy

THICK = 0.5  # sea miles


def blast(weather: Weather) -> str:
    """What is heard from the rock: nothing when it is clear, two blasts when the fog is thick."""
    if not is_foggy(weather):
        return ""
    return "Mooo! Mooo!" if weather.visibility < THICK else "Mooo!"
