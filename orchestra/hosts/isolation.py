"""Isolate the repository's commands (gates, set-up) from the user's keys, files and processes."""

import asyncio
import json
import os
import pwd
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath

from orchestra.errors import UsageError
from orchestra.judge.foreign_head import explain_foreign_head
from orchestra.process import CHILD, Sandbox, guard_command
from orchestra.settings import Settings, mask_value
from orchestra.workspace.repository import Repository

# What holds keys and tokens in the home folder, or answers in the user's name.
SECRETS = (
    *(".netrc", "_netrc", ".env", ".git-credentials", ".config/git/credentials", ".config/gh", ".config/hub"),
    *(".config/glab-cli", ".aws", ".azure", ".config/gcloud", ".kube", ".docker", ".oci", ".config/doctl"),
    *(".vault-token", ".ray"),
    *(".claude", ".claude.json", ".codex", ".gemini", ".config/github-copilot", ".config/openai", ".config/anthropic"),
    *(".config/aider-orchestrator", ".aider.conf.yml", ".aider", ".ssh", ".gnupg", ".password-store", ".pypirc"),
    *(".cargo/credentials", ".cargo/credentials.toml", ".gem/credentials", ".terraform.d/credentials.tfrc.json"),
    *(".local/share/keyrings", ".config/op", ".mozilla", ".config/google-chrome", ".config/chromium", ".bash_history"),
    *(".zsh_history", ".python_history", ".config/fish", ".local/share/fish", ".psql_history", ".mysql_history"),
)
# Variables that lead to a socket that acts for the user.
SOCKETS = (
    *("SSH_AUTH_SOCK", "SSH_AGENT_PID", "DBUS_SESSION_BUS_ADDRESS", "XDG_RUNTIME_DIR", "TMUX", "TMUX_PANE"),
    *("DOCKER_HOST", "CONTAINER_HOST", "GPG_AGENT_INFO", "WAYLAND_DISPLAY"),
)
# Variables that differ between two terminals, or two calls from one. A command gets a PWD of its own.
TERMINAL = (
    "_",
    "PWD",
    "OLDPWD",
    "SHLVL",
    "WINDOWID",
    "SSH_CLIENT",
    "SSH_CONNECTION",
    "SSH_TTY",
    "GPG_TTY",
    "TERM_SESSION_ID",
)
WORKTREES = ("worktree", "list", "--porcelain")
PROJECTS = ("pyproject.toml", "setup.py", "setup.cfg", "requirements.txt", "package.json")
INSTALLED = ("node_modules", ".venv", "venv")
# The part of the repository's git configuration that tools need to read files and history correctly, and the committer.
GIT_KEYS = (
    *("core.repositoryformatversion", "core.filemode", "core.ignorecase", "core.symlinks", "core.autocrlf"),
    *("core.eol", "core.precomposeunicode", "extensions.objectformat", "user.name", "user.email"),
)
LARGEST = 1 << 20  # bytes of a file that is searched
MODES = ("namespaces", "landlock")
WEAKER_SANDBOX = "this system allows no namespaces, so the sandbox of tests and set-up commands is weaker"
IN_IT = "tests and set-up commands run in a sandbox without network, because {}"
NOT_TRUSTED = "no tests and no set-up commands run, because {}, and there is no sandbox"
NO_SANDBOX_RISK = "tests and set-up commands can read what you can read"
NO_SANDBOX_HOLDS = f"there is no sandbox: {NO_SANDBOX_RISK}"


class Isolation:
    """The sandbox of a run; its mode is found out when the first command needs it."""

    def __init__(
        self,
        settings: Settings,
        repository: Repository,
        files: Collection[str],
        folder: Path,
        keys: Collection[str],
        foreign_reason: str | None = None,
    ) -> None:
        """`foreign_reason`: as another machine has found it; by default it is found here."""
        self.settings = settings
        self.keys = keys
        self.repository = repository
        self.files = files
        self.folder = folder
        self.lock = asyncio.Lock()
        self.found: Sandbox | None = None
        self.note = ""
        self.foreign_reason = find_foreign_reason(settings) if foreign_reason is None else foreign_reason

    async def sandbox(self) -> Sandbox:
        async with self.lock:
            if self.found is None:
                self.found = await self.make_sandbox()
        return self.found

    async def is_trusted(self) -> bool:
        """Whether the repository's commands may run: a stranger's only in a complete sandbox."""
        return (await self.sandbox()).mode == MODES[0] or not self.foreign_reason

    async def make_sandbox(self) -> Sandbox:
        mode = "none" if self.settings.sandbox == "off" else await find_sandbox_mode(self.folder)
        if self.foreign_reason:
            self.note = (IN_IT if mode == MODES[0] else NOT_TRUSTED).format(self.foreign_reason)
        elif self.settings.sandbox == "auto":
            self.note = {"landlock": WEAKER_SANDBOX, "none": NO_SANDBOX_HOLDS}.get(mode, "")
        root = self.repository.root.resolve()
        git, home = self.repository.git, Path(os.environ.get("HOME") or "~").expanduser().resolve()
        common = Path(await git.text("rev-parse", "--path-format=absolute", "--git-common-dir")).resolve()
        return Sandbox(
            mode,
            root,
            common,
            home,
            (*SECRETS, *files_with_keys(home, self.keys)),
            without=system_secrets(root, home) | worktree_secrets(root, self.folder, home, await git.maybe(*WORKTREES)),
            covered=(*covered_folders(self.folder, os.environ), *outer_git_folders(common)),
            shared=tuple(installed_packages(root, self.files, self.settings.worktree_link)),
            git_config=safe_git_config(await git.raw("config", "--list", "-z")),
            hidden=await self.environment_files() if mode == "landlock" else (),
            net=self.settings.sandbox_net == "on" or not (self.settings.sandbox_net or self.foreign_reason),
        )

    async def environment_files(self) -> tuple[str, ...]:
        """Return untracked .env files, except those that the user wants in each worktree."""
        git = self.repository.git.with_env(GIT_LITERAL_PATHSPECS="0")
        paths = await git.paths("ls-files", "--others", "-z", "--", ":(glob)**/.env*")
        kept = set(self.settings.worktree_copy)
        return tuple(str(self.repository.root.resolve() / path) for path in paths if path not in kept)


def find_foreign_reason(settings: Settings) -> str:
    """Return why the checkout may be a stranger's; empty if it is not."""
    if ":" in settings.repo and not Path(settings.repo).exists() and not settings.trust_repo:
        return f"{mask_value('repo', settings.repo)} was cloned for this run and is not trusted (--trust-repo)"
    env, event = os.environ, None
    with suppress(OSError, ValueError):
        event = json.loads(Path(env.get("GITHUB_EVENT_PATH", "")).read_text(encoding="utf-8"))
    return explain_foreign_head(env, event if isinstance(event, dict) else {})


async def check_sandbox(settings: Settings) -> None:
    """Check, before anything is paid, that --sandbox require gets a complete sandbox."""
    if settings.sandbox != "require":
        return
    with tempfile.TemporaryDirectory(prefix="aider-orchestrator-") as folder:
        if await find_sandbox_mode(Path(folder)) != MODES[0]:
            raise UsageError("--sandbox require: this system allows no namespaces.", hint="`doctor` tells more.")


async def find_sandbox_mode(folder: Path) -> str:
    """Try each mode on a sample worktree: a kernel may offer a feature and still refuse it."""
    for mode in MODES:
        if await is_mode_effective(mode, folder / f"probe-{mode}"):
            return mode
    return "none"


async def is_mode_effective(mode: str, folder: Path) -> bool:
    tree, common, home = folder / "slot/tree", folder / "checkout/.git", folder / "home"
    for path in (tree, common / "objects", common / "worktrees/tree", home):
        path.mkdir(parents=True)
    (tree / ".git").write_text(f"gitdir: {common}/worktrees/tree\n")
    (home / ".netrc").write_text("secret")
    order = Sandbox(mode, common.parent.resolve(), common.resolve(), home.resolve(), (".netrc",)).guard_argument(tree)
    child = await asyncio.create_subprocess_exec(
        *guard_command(["/bin/sh", "-c", "! cat ../../home/.netrc"], order),
        cwd=tree,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    await child.wait()
    return child.returncode == 0


def system_secrets(checkout: Path, home: Path) -> dict[str, tuple[str, ...]]:
    """Return the .env beside the script, and secrets of the system's home folder if HOME is another one, as in CI."""
    script, found = CHILD.parent.parent.resolve(), dict[str, tuple[str, ...]]()
    if (script / ".env").exists() and script != checkout:
        found[str(script)] = (".env",)
    with suppress(KeyError, OSError):
        real = Path(pwd.getpwuid(os.getuid()).pw_dir).resolve()
        names = tuple(name for name in SECRETS if (real / name).exists())
        if names and real != home and real != Path("/") and not home.is_relative_to(real):
            found[str(real)] = names
    return found


def files_with_keys(home: Path, keys: Collection[str]) -> tuple[str, ...]:
    """Return files of the home folder that contain one of the run's keys, such as a shell's start file."""
    found = []
    with suppress(OSError):
        for path in home.iterdir():
            with suppress(OSError):
                if keys and path.is_file() and path.stat().st_size < LARGEST:
                    content = path.read_bytes()
                    found += [path.name] if any(key.encode() in content for key in keys) else []
    return tuple(sorted(found))


def worktree_secrets(checkout: Path, folder: Path, home: Path, listing: str) -> dict[str, tuple[str, ...]]:
    """Return the .env files of other worktrees and of an outer checkout. Those in the home folder are hidden anyway."""
    places = [Path(line.removeprefix("worktree ")) for line in listing.splitlines() if line.startswith("worktree ")]
    places += [above for above in checkout.parents if (above / ".git").exists()]
    found = {}
    for place in {place.resolve() for place in places if place.is_dir()} - {checkout}:
        names = tuple(sorted(path.name for path in place.glob(".env*")))
        if names and not (place.is_relative_to(folder.resolve()) or home.is_relative_to(place)):
            found[str(place)] = names
    return found


def outer_git_folders(common: Path) -> list[str]:
    """Return the git directories above a submodule's own: their configurations may hold tokens."""
    above = [path.parent for path in common.parents if path.name == "modules" and (path.parent / "HEAD").is_file()]
    above = [path for path in above if (path / "objects").is_dir() and (path / "refs").is_dir()]
    return [str(above[-1])] if above else []


def covered_folders(folder: Path, env: Mapping[str, str]) -> Iterator[str]:
    """Return the run's own folders (other attempts are there), and those with the user's sockets."""
    yield str(folder.resolve())
    if runtime := env.get("XDG_RUNTIME_DIR"):
        yield os.path.realpath(runtime)
    if agent := env.get("SSH_AUTH_SOCK"):
        parent = Path(agent).resolve().parent
        if parent.name.startswith(("ssh-", "agent", "keyring")):
            yield str(parent)
    config = env.get("XDG_CONFIG_HOME")
    if config and (Path(config) / "aider-orchestrator").is_dir():
        yield str((Path(config) / "aider-orchestrator").resolve())
    for pattern in ("tmux-*", "ssh-*"):
        yield from (str(path) for path in Path("/tmp").glob(pattern) if path.is_dir() and not path.is_symlink())


def installed_packages(root: Path, files: Collection[str], links: Collection[str]) -> Iterator[str]:
    """Return what is installed in the checkout and used in place; nothing tracked: such a link may lead anywhere."""
    tracked = frozenset(files)
    folders = {PurePosixPath(path).parent for path in files if PurePosixPath(path).name in PROJECTS}
    paths = [root / folder / name for folder in (*sorted(folders), PurePosixPath(".")) for name in INSTALLED]
    paths += [path.parent for path in root.glob("*/pyvenv.cfg") if f"{path.parent.name}/pyvenv.cfg" not in tracked]
    own = [path for path in paths if path.relative_to(root).as_posix() not in tracked]
    found = [path.parent.resolve() / path.name for path in (*own, *(root / name for name in links)) if path.is_dir()]
    ends = [path.resolve() for path in found if path.is_symlink()]
    inside = [end for end in ends if end.is_relative_to(root) and ".git" not in end.relative_to(root).parts]
    yield from dict.fromkeys(map(str, (*found, *(end for end in inside if end != root))))


def without_session(env: Mapping[str, str]) -> dict[str, str]:
    """Return variables without those that lead to the user's sockets, or belong to one terminal."""
    return {name: value for name, value in env.items() if name not in (*SOCKETS, *TERMINAL)}


def safe_git_config(listing: bytes) -> str:
    """Return a git configuration without addresses and tokens."""
    pairs = [entry.partition("\n") for entry in os.fsdecode(listing).split("\0") if entry]
    known = {name.lower(): value for name, _, value in pairs if name.lower() in GIT_KEYS}
    lines = []
    for name, value in known.items():
        section, _, key = name.partition(".")
        safe = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        lines.append(f'[{section}]\n\t{key} = "{safe}"\n')
    return "".join(lines)
