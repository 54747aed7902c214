"""The lighthouse on nights when one can see."""

from lighthouse import kettle, lamp, logbook, scene, ships, weather

CALM = weather.Weather(wind=3, visibility=10)
BREEZE = weather.Weather(wind=14, visibility=10)
GALE = weather.Weather(wind=40, visibility=4)
HERON = ships.Ship("Patient Heron", knots=12)


def test_the_keeper_names_the_wind():
    assert [weather.describe(w) for w in (CALM, BREEZE, GALE)] == ["calm", "breeze", "gale"]


def test_the_lamp_hurries_in_a_gale():
    assert [lamp.flashes(CALM), lamp.flashes(GALE)] == [6, 9]


def test_the_beam_reaches_as_far_as_one_sees():
    assert [len(lamp.beam(CALM)), len(lamp.beam(GALE))] == [20, 8]


def test_ships_are_careful_in_a_gale():
    assert [ships.safe_speed(HERON, CALM), ships.safe_speed(HERON, GALE)] == [12, 8]


def test_tea_in_the_evening_and_cocoa_after_midnight():
    assert [kettle.brew(21, CALM), kettle.brew(1, CALM)] == ["tea", "cocoa"]


def test_soup_in_a_gale():
    assert kettle.brew(21, GALE) == "hot soup"


def test_the_log_has_a_line_an_hour():
    assert logbook.entry(4, CALM, HERON) == "04:00  calm; lamp at 6; Patient Heron at 12 knots; cocoa"


def test_the_lamp_is_lit_in_the_picture():
    assert "|o|====" in scene.draw(CALM)
