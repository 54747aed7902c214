"""The settings: one frozen object, each value with the place it came from. Pure: the face reads the files, this parses them."""

import dataclasses
import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from orchestra.errors import SettingsError

PREFIX = "ORCHESTRA_"
TRUE, FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off", "")


def option(
    default: Any, help: str, *, group: str, env: tuple[str, ...] = (), metavar: str = "", off: bool = False
) -> Any:
    """A setting. `env` names variables beside ORCHESTRA_<NAME>; `off` makes the flag --no-<name>, for what is on by default."""
    return field(default=default, metadata={"help": help, "group": group, "env": env, "metavar": metavar, "off": off})


@dataclass(frozen=True)
class Settings:
    change: str = option("", "what to change; @FILE reads it from a file, - from stdin", group="work", metavar="TEXT")
    repo: str = option(
        "",
        "the repository: a path, or a URL to clone first (default: the current directory)",
        group="work",
        metavar="PATH",
    )
    files: tuple[str, ...] = option(
        (), "the files to change: paths, directories, globs (default: the PRD decides)", group="work", metavar="FILE"
    )
    prd: str = option("", "use this PRD instead of asking Gemini for one", group="work", metavar="FILE")
    use_prd: bool = option(True, "work without a PRD", group="work", off=True)
    commit_prd: bool = option(False, "commit the PRD with the change", group="work")
    dry_run: bool = option(False, "show the plan and its cost, run nothing", group="work")

    agents: int = option(0, "exactly N agents, as far as there are files", group="agents", metavar="N")
    max_agents: int = option(
        0, "at most N agents (default: what cores, memory and files allow)", group="agents", metavar="N"
    )
    max_iterations: int = option(
        10, "model replies per attempt, at most", group="agents", env=("AIDER_MAX_ITERATIONS",), metavar="N"
    )
    agent_timeout: float = option(
        1800.0, "seconds for one attempt; waiting in the gateway does not count", group="agents", metavar="S"
    )
    worktree_copy: tuple[str, ...] = option(
        (), "untracked files to copy into each worktree (.env.test)", group="agents", metavar="PATH"
    )
    worktree_link: tuple[str, ...] = option(
        (), "untracked paths to link into each worktree (node_modules, .venv)", group="agents", metavar="PATH"
    )
    setup_cmd: str = option("", "a command to run in each fresh worktree", group="agents", metavar="CMD")
    aider_args: str = option("", "more options for Aider, as one string", group="agents", metavar="ARGS")
    fork_server: bool = option(
        True, "start every Aider by itself instead of forking a warm one", group="agents", off=True
    )

    model: str = option(
        "", "the agents' model", group="models", env=("DEFAULT_AIDER_MODEL", "LITELLM_MODEL"), metavar="NAME"
    )
    claude: bool = option(False, "use the default Claude model", group="models")
    claude_model: str = option(
        "", "what --claude stands for", group="models", env=("DEFAULT_CLAUDE_MODEL",), metavar="NAME"
    )
    gemini_model: str = option(
        "", "the model that writes the PRD", group="models", env=("DEFAULT_GEMINI_MODEL",), metavar="NAME"
    )
    gemini_client: str = option(
        "rest", "rest, or sdk for google-generativeai", group="models", env=("GEMINI_CLIENT",), metavar="NAME"
    )
    api_key: str = option(
        "", "Google API key (better: GOOGLE_API_KEY in the environment)", group="models", metavar="KEY"
    )

    test_cmd: str = option("", "tests that the combined result must pass", group="result", metavar="CMD")
    gate_timeout: float = option(1800.0, "seconds for one gate", group="result", metavar="S")
    apply: bool = option(True, "leave the result on its side branch", group="result", off=True)
    all_or_nothing: bool = option(False, "apply nothing unless every task is complete", group="result")
    json: bool = option(False, "print the summary as JSON on stdout", group="result")
    quiet: bool = option(False, "print only the result", group="result")
    verbose: bool = option(False, "print every event", group="result")

    sources: Mapping[str, str] = field(default_factory=dict, repr=False)
    variables: Mapping[str, tuple[str, str]] = field(default_factory=dict, repr=False)

    def key(self, names: Iterable[str]) -> tuple[str, str]:
        """The first of these variables that has a value, with its source."""
        for name in names:
            value, source = self.variables.get(name, ("", ""))
            if value:
                return value, source
        return "", ""

    def base_url(self, names: Iterable[str], key_source: str) -> str:
        """A base URL. One from a repository's .env counts only beside a key from that same file: a file that came
        with a repository must not be able to send a key from elsewhere to a server of its choice."""
        value, source = self.key(names)
        return "" if source.startswith("repository") and source != key_source else value.rstrip("/")

    def with_values(self, **values: Any) -> "Settings":
        return dataclasses.replace(self, **values)


SECRET_WORDS = ("KEY", "TOKEN", "SECRET", "PASSWORD")


def options() -> list[dataclasses.Field[Any]]:
    return [f for f in fields(Settings) if "help" in f.metadata]


def flag(f: dataclasses.Field[Any]) -> str:
    """--no-prd for use_prd, --no-apply for apply, --max-agents for max_agents."""
    if f.metadata["off"]:
        return "--no-" + f.name.removeprefix("use_").replace("_", "-")
    return "--" + f.name.replace("_", "-")


def load(
    flags: Mapping[str, Any],
    environments: Sequence[tuple[str, Mapping[str, str]]],
    file: tuple[str, Mapping[str, Any]] = ("", {}),
) -> Settings:
    """Flags, then the environments in their order (the process's own, then .env files), then the settings file, then defaults."""
    check_keys(*file)
    variables = {
        name: (value, source) for source, env in reversed(environments) for name, value in env.items() if value
    }
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for f in options():
        values[f.name], sources[f.name] = pick(f, flags, variables, file)
    settings = Settings(**values, sources=sources, variables=variables)
    check(settings)
    return settings


def pick(
    f: dataclasses.Field[Any],
    flags: Mapping[str, Any],
    variables: Mapping[str, tuple[str, str]],
    file: tuple[str, Mapping[str, Any]],
) -> tuple[Any, str]:
    if flags.get(f.name) is not None:
        return parse(f, flags[f.name], flag(f)), "flag"
    for name in (PREFIX + f.name.upper(), *f.metadata["env"]):
        if name in variables:
            text, source = variables[name]
            return parse(f, text, name), f"{source} {name}"
    place, table = file
    key = f.name.replace("_", "-")
    if key in table:
        return parse(f, table[key], f"{key} in {place}"), place
    return f.default, "default"


def parse(f: dataclasses.Field[Any], value: Any, place: str) -> Any:
    """The value in the option's own type."""
    kind: type = type(f.default)
    if kind is bool:
        return parse_bool(value, place)
    if kind is tuple:
        return tuple(value.split()) if isinstance(value, str) else tuple(str(item) for item in value)
    try:
        return kind(value)
    except (TypeError, ValueError):
        wanted = {int: "a whole number", float: "a number"}.get(kind, "text")
        raise SettingsError(f"{place}: {value!r} is not {wanted}.") from None


def parse_bool(value: Any, place: str) -> bool:
    text = str(value).strip().lower()
    if text not in TRUE + FALSE:
        raise SettingsError(f"{place}: {value!r} is neither true nor false.")
    return text in TRUE


def check_keys(place: str, table: Mapping[str, Any]) -> None:
    known = [f.name.replace("_", "-") for f in options()]
    for key in table:
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            hint = f"did you mean {near[0]!r}?" if near else "`config show` lists the settings."
            raise SettingsError(f"unknown setting {key!r} in {place}: {hint}")


def check(s: Settings) -> None:
    for name in ("agents", "max_agents"):
        if getattr(s, name) < 0:
            raise SettingsError(f"--{name.replace('_', '-')} must be at least 1, not {getattr(s, name)}.")
    for name in ("max_iterations", "agent_timeout", "gate_timeout"):
        if not getattr(s, name) > 0:
            raise SettingsError(f"--{name.replace('_', '-')} must be more than 0, not {getattr(s, name)}.")
    if s.gemini_client not in ("rest", "sdk"):
        raise SettingsError(f"GEMINI_CLIENT must be rest or sdk, not {s.gemini_client!r}.")
    if s.prd and not s.use_prd:
        raise SettingsError("--prd and --no-prd exclude each other.")


def masked(name: str, value: str) -> str:
    """A value that may be shown: keys lose everything but their last two characters."""
    secret = any(word in name.upper() for word in SECRET_WORDS)
    return f"…{value[-2:]}" if secret and len(value) > 8 else "…" if secret and value else value
