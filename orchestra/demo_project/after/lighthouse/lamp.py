"""The great lamp, which turns all night."""

from lighthouse.weather import Weather, is_foggy, is_gale

COLUMNS_PER_MILE = 2
REACH = 12  # sea miles, on the clearest of nights
WISPS = " . : . : . :"


def flashes(weather: Weather) -> int:
    """Flashes a minute."""
    usual = 9 if is_gale(weather) else 6
    return usual * 2 if is_foggy(weather) else usual


def beam(weather: Weather) -> str:
    """The beam, drawn as far as it can be seen."""
    miles = min(weather.visibility, REACH)
    light = "=" * round(miles * COLUMNS_PER_MILE)
    return light + WISPS if is_foggy(weather) else light
