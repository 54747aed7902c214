"""What the keeper sees from the gallery."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Weather:
    """One hour's weather: wind in knots, visibility in sea miles."""

    wind: int
    visibility: float


def is_gale(weather: Weather) -> bool:
    return weather.wind >= 34


def describe(weather: Weather) -> str:
    """The weather in the keeper's few words."""
    if is_gale(weather):
        word = "gale"
    elif weather.wind >= 8:
        word = "breeze"
    else:
        word = "calm"
    return word
