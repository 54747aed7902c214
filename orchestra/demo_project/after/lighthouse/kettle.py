"""What keeps the keeper awake."""

from lighthouse.weather import Weather, is_foggy, is_gale


def brew(hour: int, weather: Weather) -> str:
    """What stands on the stove at this hour."""
    if is_foggy(weather):
        return "strong tea"
    if is_gale(weather):
        return "hot soup"
    return "cocoa" if hour < 6 else "tea"
