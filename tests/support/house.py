"""A user's house: a home with a checkout in it, a worktree of that, and a process that holds the user's secret."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from orchestra.hosts.isolation import SECRETS
from orchestra.process import CHILD, Sandbox

SECRET = "sk-the-secret-of-the-user-0123456789"
BURGLAR = Path(__file__).parent / "burglar.py"
SYSTEM_PYTHON = "/usr/bin/python3"  # one that an ordinary user can reach
ORDINARY = 65533


@dataclass
class House:
    """A user's home with a checkout in it, a worktree of that, and a process that holds the secret."""

    root: Path
    user: int
    victim: "subprocess.Popen[bytes]"
    sandbox: Sandbox = field(init=False)

    def __post_init__(self) -> None:
        self.sandbox = Sandbox("namespaces", self.checkout, self.checkout / ".git", self.home, SECRETS)
        self.sandbox = replace(self.sandbox, shared=(str(self.checkout / ".venv"),), covered=(str(self.root / "run"),))

    @property
    def home(self) -> Path:
        return self.root / "home"

    @property
    def checkout(self) -> Path:
        return self.home / "projects/shop"

    @property
    def tree(self) -> Path:
        return self.root / "run/slot/tree"

    @property
    def python(self) -> str:
        return SYSTEM_PYTHON if self.user else sys.executable

    def own(self, folder: Path) -> None:
        """Give what a test has made to the one who lives here."""
        for path in (folder, *folder.rglob("*")):
            os.chown(path, self.user, self.user, follow_symlinks=False)

    def order(self) -> str:
        return self.sandbox.guard_argument(self.tree)

    def command(self, *words: str, grace: str = "1", order: str = "") -> list[str]:
        child = self.root / "child" if self.user else CHILD
        return [self.python, "-I", "-S", str(child / "guard.py"), grace, order or self.order(), *words]

    def start(self, *words: str, order: str = "") -> "subprocess.Popen[str]":
        env = {"PATH": os.environ["PATH"], "HOME": str(self.home), "TMPDIR": str(self.tree.parent)}
        who = {"user": self.user, "group": self.user, "extra_groups": []} if self.user else {}
        child: subprocess.Popen[str] = subprocess.Popen(
            self.command(*words, order=order),
            cwd=self.tree,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            **who,  # type: ignore[call-overload]
        )
        return child

    def run(self, *words: str, order: str = "") -> tuple[int, str]:
        child = self.start(*words, order=order)
        printed = child.stdout.read() if child.stdout else ""
        return child.wait(), printed

    def shell(self, script: str) -> tuple[int, str]:
        return self.run("sh", "-c", script)

    def burgle(self, abstract: str = "nothing") -> dict[str, object]:
        burglar = shutil.copy(BURGLAR, self.tree / "burglar.py")
        words = (str(self.checkout), str(self.home), str(self.victim.pid), SECRET[::-1], abstract)
        code, printed = self.run(self.python, str(burglar), *words)
        assert code == 0, printed
        found: dict[str, object] = json.loads(printed)
        return found


def users() -> list[int]:
    """0: whoever runs the tests. Root tries an ordinary user too."""
    return [0, ORDINARY] if os.getuid() == 0 and Path(SYSTEM_PYTHON).exists() else [0]


@pytest.fixture(params=users(), ids=lambda user: "ordinary" if user else "self")
def house(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[House]:
    user: int = request.param
    root = Path("/tmp") / f"house-{os.getpid()}-{tmp_path.name[-20:]}"
    root.mkdir()
    make_house(root)
    who = {}
    if user:
        shutil.copytree(CHILD, root / "child", ignore=shutil.ignore_patterns("__pycache__"))
        for path in (root, *root.rglob("*")):
            os.chown(path, user, user, follow_symlinks=False)
        who = {"user": user, "group": user, "extra_groups": []}
    victim = subprocess.Popen(["sleep", "1000"], env={"KEY": SECRET, "PATH": os.environ["PATH"]}, cwd=root, **who)  # type: ignore[call-overload]
    yield House(root, user, victim)
    victim.kill()
    victim.wait()
    shutil.rmtree(root)


def make_house(root: Path) -> None:
    home, checkout, tree = root / "home", root / "home/projects/shop", root / "run/slot/tree"
    for folder in (checkout / ".venv/bin", home / ".config/gh", home / ".aws", home / ".cache", tree.parent):
        folder.mkdir(parents=True)
    for name in (".netrc", ".config/gh/hosts.yml", ".aws/credentials", ".claude.json", "projects/shop/.env"):
        (home / name).write_text(f"key = {SECRET}\n")
    (home / ".cache/plain").write_text("plain\n")
    (root / "run/other").mkdir()
    (root / "run/other/token").write_text(SECRET)
    (checkout / ".venv/bin/tool").write_text("tool\n")

    def git(*words: str) -> None:
        subprocess.run(["git", *words], cwd=checkout, check=True, capture_output=True)

    git("init", "-q", "-b", "main")
    for name, value in (("user.name", "Ada"), ("user.email", "ada@example.com")):
        git("config", name, value)
    (checkout / "a.py").write_text("a = 1\n")
    git("add", "a.py")
    git("commit", "-q", "-m", "Start")
    git("tag", "v1.0")
    git("config", "http.https://github.com/.extraheader", f"AUTHORIZATION: basic {SECRET}")
    git("worktree", "add", "-q", "--detach", str(tree))
