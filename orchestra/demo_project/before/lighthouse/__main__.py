"""Spend a night at the lighthouse: python -m lighthouse."""

from lighthouse.logbook import entry
from lighthouse.scene import draw
from lighthouse.ships import Ship
from lighthouse.weather import Weather

NIGHT = [
    (21, Weather(wind=14, visibility=10), Ship("Marmalade", knots=9)),
    (1, Weather(wind=38, visibility=4), Ship("Second Thoughts", knots=14)),
    (4, Weather(wind=3, visibility=0.4), Ship("Patient Heron", knots=12)),
]

if __name__ == "__main__":
    for hour, weather, ship in NIGHT:
        print(draw(weather))
        print(entry(hour, weather, ship), end="\n\n")
