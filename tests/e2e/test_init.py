"""`init` at a terminal: what it asks, what it writes after a yes, and that it writes nothing without one."""

from pathlib import Path

import pytest

from tests.e2e.test_plans import Terminal
from tests.support.runs import Place, make_place

FILES = {
    "pyproject.toml": "[tool.pytest.ini_options]\n",
    "package.json": '{"scripts": {"test": "jest"}, "devDependencies": {"jest": "30"}}',
    "app.py": "one = 1\n",
    "tests/test_app.py": "def test_one():\n    assert True\n",
}
KEY = "sk-ant-typed-0123456789"
NO_KEYS = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GOOGLE_API_KEY", "GEMINI_API_KEY", "ORCHESTRA_MODEL")


def answer(place: Place, *answers: tuple[str, str]) -> tuple[str, int]:
    """Answer each question, which is recognised by a part of it. Return what was shown, and the exit code."""
    place.git("remote", "add", "origin", "https://github.com/me/it.git")
    env = {name: value for name, value in place.environment().items() if name not in NO_KEYS}
    person, shown = Terminal(place, "init", env=env), ""
    for question, words in answers[:-1]:
        shown += person.expect(question)
        person.write(words)
    shown += person.expect(answers[-1][0])
    code = person.leave(answers[-1][1])
    return shown + person.seen, code


@pytest.mark.thorough
def test_init_writes_what_was_agreed_to(tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES)
    shown, code = answer(
        place,
        ("Model (Enter: openai/gpt-6.1-sol): ", "nonsense"),
        ("Model (Enter: openai/gpt-6.1-sol): ", "anthropic"),
        ("ANTHROPIC_API_KEY for the agents (Enter for none): ", KEY),
        ("GOOGLE_API_KEY for the PRD (Enter for none): ", ""),
        ("ignores? [y/N] ", "y"),
        ("Test command (Enter: these): ", "python3 -m pytest -q"),
        ("[y/N] ", "y"),
        ("[y/N] ", "y"),
        ("without a key? [y/N] ", "y"),
    )
    assert "After: 16 passed" in shown
    assert " is not used: " in shown and "(there is no node_modules)" in shown
    assert code == 0 and "no provider is known for the model 'nonsense'" in shown and KEY not in shown
    assert "  pytest: " in shown and " -m pytest" in shown
    assert 'Next: aider-orchestrator "what to change" --files PATH --dry-run' in shown
    assert f"\nANTHROPIC_API_KEY={KEY}\n" in (place.repo / ".env").read_text()
    settings = (place.repo / "aider-orchestrator.toml").read_text()
    assert settings.splitlines()[1:] == ['test-cmd = "python3 -m pytest -q"', "use-prd = false"]
    assert settings.startswith('model = "anthropic/')
    assert sorted(place.status()) == ["?? .github/workflows/change.yml", "?? aider-orchestrator.toml"]
    assert "OWNER/aider-orchestrator" in (place.repo / ".github/workflows/change.yml").read_text()
    plan = place.run("--change", "x", "--files", "app.py", "--dry-run", ANTHROPIC_API_KEY="", OPENAI_API_KEY="")
    assert plan.code == 0 and "anthropic/" in plan.out


@pytest.mark.thorough
def test_init_writes_nothing_without_a_yes(tmp_path: Path) -> None:
    place = make_place(tmp_path, FILES)
    shown, code = answer(
        place,
        ("Model (Enter: openai/gpt-6.1-sol): ", ""),
        ("OPENAI_API_KEY for the agents (Enter for none): ", KEY),
        ("GOOGLE_API_KEY for the PRD (Enter for none): ", "AIza-typed-0123456789"),
        ("ignores? [y/N] ", ""),
        ("Test command (Enter: these): ", "make test"),
        ("[y/N] ", "n"),
        ("[y/N] ", "no"),
        ("without a key? [y/N] ", ""),
    )
    assert code == 0 and place.status() == [] and not (place.repo / ".env").exists()
    assert '"what to change" --files PATH --dry-run' in shown, "without the key that was not written there is no PRD"
    refused = place.run("init")
    assert refused.code == 2 and "there is no terminal" in refused.err
