"""The great lamp, which turns all night."""

from lighthouse.weather import Weather, is_gale

COLUMNS_PER_MILE = 2
REACH = 12  # sea miles, on the clearest of nights


def flashes(weather: Weather) -> int:
    """Flashes a minute."""
    return 9 if is_gale(weather) else 6


def beam(weather: Weather) -> str:
    """The beam, drawn as far as it can be seen."""
    miles = min(weather.visibility, REACH)
    return "=" * round(miles * COLUMNS_PER_MILE)
