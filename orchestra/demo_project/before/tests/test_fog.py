"""The lighthouse when the fog comes in."""

from lighthouse import kettle, lamp, logbook, ships, weather

CLEAR = weather.Weather(wind=3, visibility=1)
MIST = weather.Weather(wind=3, visibility=0.8)
PEA_SOUP = weather.Weather(wind=3, visibility=0.3)
HERON = ships.Ship("Patient Heron", knots=12)


def test_fog_begins_below_a_mile():
    assert [weather.is_foggy(w) for w in (CLEAR, MIST, PEA_SOUP)] == [False, True, True]


def test_the_keeper_names_the_fog():
    assert [weather.describe(w) for w in (CLEAR, MIST)] == ["calm", "calm, fog"]


def test_the_lamp_flashes_twice_as_often():
    assert [lamp.flashes(w) for w in (CLEAR, MIST)] == [6, 12]


def test_the_beam_breaks_up():
    assert [lamp.beam(w) for w in (CLEAR, MIST)] == ["==", "== . : . : . :"]


def test_the_horn_sounds_and_twice_when_the_fog_is_thick():
    from lighthouse.horn import blast  # imported here, so that the rest is tested even on a rock without a horn

    assert [blast(w) for w in (CLEAR, MIST, PEA_SOUP)] == ["", "Mooo!", "Mooo! Mooo!"]


def test_ships_go_at_half_speed():
    assert [ships.safe_speed(HERON, w) for w in (CLEAR, MIST)] == [12, 6]


def test_strong_tea_at_any_hour():
    assert [kettle.brew(hour, MIST) for hour in (21, 4)] == ["strong tea", "strong tea"]


def test_the_log_notes_the_horn():
    line = "04:00  calm, fog; lamp at 12; Patient Heron at 6 knots; strong tea; horn: Mooo! Mooo!"
    assert logbook.entry(4, PEA_SOUP, HERON) == line
