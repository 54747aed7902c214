"""The command line called inside the test's own process: for all that ends before an agent is started."""

import io
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import aider_orchestrator
from orchestra.cli import load
from orchestra.cli.command_table import build_command_parser
from orchestra.cli.parser import run_options
from orchestra.providers import catalogue
from orchestra.settings import option_fields
from orchestra.settings.option import variables_of
from tests.support.runs import Place, make_place

FILES = {"a.py": "a = 1\n", "b.py": "b = 1\n", "src/c.py": "c = 1\n"}


def parse_flags(words: list[str]) -> dict[str, Any]:
    """The options of a run, as `run` parses them; None for one that is not given."""
    return run_options(build_command_parser("run").parse(words))


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Shell:
    """A shell in a small repository, with none of the variables that we read, and a folder that the script lies in."""

    place: Place
    script: Path
    patch: pytest.MonkeyPatch
    capture: pytest.CaptureFixture[str]

    def run(self, *words: str, **env: str) -> Said:
        return self.fed(b"", *words, **env)

    def fed(self, stdin: bytes, /, *words: str, **env: str) -> Said:
        self.capture.readouterr()
        with self.patch.context() as patch:
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), "ascii"))
            for name, value in env.items():
                patch.setenv(name, value)
            try:
                code = aider_orchestrator.main(list(words))
            except SystemExit as end:
                code = int(end.code or 0)
        said = self.capture.readouterr()
        return Said(code, said.out, said.err)

    def refused(self, *words: str, **env: str) -> str:
        """The one sentence of a command that cannot be carried out as it was given; nothing was begun."""
        sentence = self.refused_lines(*words, **env)
        assert "\n" not in sentence
        return sentence

    def refused_lines(self, *words: str, **env: str) -> str:
        """The same where what was given is itself of several lines."""
        before = self.place.status()
        said = self.run(*words, **env)
        assert (said.code, said.out) == (2, ""), said
        assert said.err.startswith("aider-orchestrator: "), said.err
        assert not (self.place.repo / ".aider_logs").exists()
        assert self.place.status() == before
        return said.err.removeprefix("aider-orchestrator: ").removesuffix("\n")


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Shell]:
    place = make_place(tmp_path, FILES)
    script = tmp_path / "script"
    script.mkdir()
    ours = {name for f in option_fields() for name in variables_of(f)}
    theirs = {n for provider in catalogue.PROVIDERS.values() for n in (*provider.key_vars, *provider.base_vars)}
    for name in ours | theirs:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(place.home))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setenv("TMPDIR", str(place.tmp))
    monkeypatch.setattr(load, "SCRIPT", script)
    monkeypatch.chdir(place.repo)
    yield Shell(place, script, monkeypatch, capsys)
