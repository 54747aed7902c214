"""The settings: one frozen object that remembers where each value came from.

Pure: the face reads the files, this parses what stands in them.
"""

import dataclasses
import difflib
import math
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from orchestra.errors import SettingsError

PREFIX = "ORCHESTRA_"
# Where values come from, the strongest first. The settings file follows, then the defaults.
REPOSITORY_ENV, SCRIPT_ENV = "repository .env", "script .env"
PLACES = ("flag", "environment", REPOSITORY_ENV, SCRIPT_ENV)
TRUE, FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off", "")


def option(
    default: Any, help: str, *, group: str, env: tuple[str, ...] = (), metavar: str = "", off: bool = False
) -> Any:
    """A setting. `env` names variables beside ORCHESTRA_<NAME>; `off`, for what is on by default, makes --no-<name>."""
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
        "",
        "Google API key (better: GOOGLE_API_KEY in the environment)",
        group="models",
        env=("GOOGLE_API_KEY", "GEMINI_API_KEY"),
        metavar="KEY",
    )

    test_cmd: str = option("", "tests that the combined result must pass", group="result", metavar="CMD")
    gate_timeout: float = option(1800.0, "seconds for one gate", group="result", metavar="S")
    apply: bool = option(True, "leave the result on its side branch", group="result", off=True)
    all_or_nothing: bool = option(False, "apply nothing unless every task is complete", group="result")
    store: str = option(
        "",
        "where all events are kept as well: a database URL (default: SQLite in .aider_logs)",
        group="result",
        metavar="URL",
    )
    json: bool = option(False, "print the summary as JSON on stdout", group="result")
    quiet: bool = option(False, "print only the result", group="result")
    verbose: bool = option(False, "print every event", group="result")

    sources: Mapping[str, str] = field(default_factory=dict, repr=False)
    variables: Mapping[str, tuple[str, str]] = field(default_factory=dict, repr=False)

    def key(self, names: Iterable[str]) -> tuple[str, str]:
        """The value of these variables from the strongest place, and that place; in one place the first name counts."""
        found = [self.variables[name] for name in names if name in self.variables]
        return min(found, key=lambda value: rank(value[1]), default=("", ""))

    def base_url(self, names: Iterable[str], key_source: str) -> str:
        """A base URL. One from a repository's .env counts only beside a key from that same file, or without any key: a
        file that came with a repository must not be able to send a key from elsewhere to a server of its choice."""
        value, source = self.key(names)
        strange = source == REPOSITORY_ENV and key_source and not key_source.startswith(REPOSITORY_ENV)
        return "" if strange else value.rstrip("/")

    def options(self) -> dict[str, Any]:
        """The values that a resumed run goes on with: all but the key, which is never written down."""
        return {f.name: getattr(self, f.name) for f in options() if f.name != "api_key"}

    def resumed(self, before: Mapping[str, Any]) -> "Settings":
        """The settings of a run as it was, but for what is said anew by a flag."""
        kept = {f.name: before[f.name] for f in options() if f.name in before and self.sources[f.name] != "flag"}
        return self.with_values(**{name: tuple(v) if isinstance(v, list) else v for name, v in kept.items()})

    def with_values(self, **values: Any) -> "Settings":
        return dataclasses.replace(self, **values)


RIVALS = (("agents", "max_agents"), ("prd", "use_prd"), ("model", "claude"))
SECRET_WORDS = ("KEY", "TOKEN", "SECRET", "PASSWORD")


def options() -> list[dataclasses.Field[Any]]:
    return [f for f in fields(Settings) if "help" in f.metadata]


def flag(f: dataclasses.Field[Any]) -> str:
    """--no-prd for use_prd, --no-apply for apply, --max-agents for max_agents."""
    if f.metadata["off"]:
        return "--no-" + f.name.removeprefix("use_").replace("_", "-")
    return "--" + f.name.replace("_", "-")


def rank(source: str) -> int:
    return next((n for n, place in enumerate(PLACES) if source.startswith(place)), len(PLACES))


def load(
    flags: Mapping[str, Any],
    environments: Sequence[tuple[str, Mapping[str, str]]],
    file: tuple[str, Mapping[str, Any]] = ("", {}),
) -> Settings:
    """Flags, then the environments in their order (the process's own, then .env files), then the file, then default."""
    check_keys(*file)
    check_variables(environments)
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for f in options():
        values[f.name], sources[f.name] = pick(f, flags, environments, file)
    settle_rivals(values, sources)
    if values["gemini_client"] not in ("rest", "sdk"):
        raise SettingsError(f"GEMINI_CLIENT must be rest or sdk, not {values['gemini_client']!r}.")
    # However it was given, it is the Google key, with its place, so that no base URL from elsewhere gets it.
    google = (sources["api_key"], {"GOOGLE_API_KEY": values["api_key"]})
    return Settings(**values, sources=sources, variables=merged([google, *environments]))


def merged(environments: Sequence[tuple[str, Mapping[str, str]]]) -> dict[str, tuple[str, str]]:
    """Each variable's value from the strongest place, with that place. A weaker one is kept under a name that nobody
    asks for, because a key that does not count is still a key that must not be seen."""
    found: dict[str, tuple[str, str]] = {}
    for source, env in environments:
        for name, value in env.items():
            if value.strip():
                found[f"{name} of the {source}" if name in found else name] = (value.strip(), source)
    return found


def pick(
    f: dataclasses.Field[Any],
    flags: Mapping[str, Any],
    environments: Sequence[tuple[str, Mapping[str, str]]],
    file: tuple[str, Mapping[str, Any]],
) -> tuple[Any, str]:
    if flags.get(f.name) is not None:
        return parse(f, flags[f.name], flag(f)), "flag"
    for source, env in environments:
        for name in variables_of(f):
            if env.get(name, "").strip():
                words: Any = env[name].strip()
                return parse(f, split(words, name) if f.default == () else words, name), f"{source} {name}"
    place, table = file
    if key_of(f) in table:
        return parse(f, table[key_of(f)], f"{key_of(f)} in {place}"), place
    return f.default, "default"


def variables_of(f: dataclasses.Field[Any]) -> tuple[str, ...]:
    return (PREFIX + f.name.upper(), *f.metadata["env"])


def key_of(f: dataclasses.Field[Any]) -> str:
    """The setting's name in a settings file."""
    return f.name.replace("_", "-")


def split(words: str, place: str) -> list[str]:
    """Several paths in one variable, as a shell would split them."""
    try:
        return shlex.split(words)
    except ValueError as error:
        raise SettingsError(f"{place}: {str(error).lower()} in {words!r}.") from None


def parse(f: dataclasses.Field[Any], value: Any, place: str) -> Any:
    """The value in the option's own type."""
    kind: type = type(f.default)
    if kind is bool:
        return parse_bool(value, place)
    if kind is tuple:
        return tuple(parse_text(item, place) for item in (value if isinstance(value, list | tuple) else [value]))
    if kind is str:
        return parse_text(value, place)
    return parse_number(kind, value, place)


def parse_bool(value: Any, place: str) -> bool:
    text = str(value).strip().lower()
    if text not in TRUE + FALSE:
        raise SettingsError(f"{place}: {value!r} is neither true nor false.")
    return text in TRUE


def parse_text(value: Any, place: str) -> str:
    if not isinstance(value, str):
        raise SettingsError(f"{place}: {value!r} is not text.")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise SettingsError(f"{place}: {value!r} is not UTF-8.") from None
    return value


def parse_number(kind: type, value: Any, place: str) -> Any:
    """All our numbers are counts and seconds: more than none, and not without end."""
    try:
        if not isinstance(value, str | kind | int) or isinstance(value, bool):
            raise ValueError
        number = kind(value)
    except ValueError:
        wanted = "a whole number" if kind is int else "a number"
        raise SettingsError(f"{place}: {value!r} is not {wanted}.") from None
    if not 0 < number < math.inf:
        least = "at least 1" if kind is int else "more than 0 and not without end"
        raise SettingsError(f"{place} must be {least}, not {number}.")
    return number


def settle_rivals(values: dict[str, Any], sources: dict[str, str]) -> None:
    """Of two settings that exclude each other the one from the stronger place counts; both from one are an error."""
    table = {f.name: f for f in options()}
    for pair in RIVALS:
        given = [name for name in pair if values[name] != table[name].default]
        strong, *weak = sorted(given, key=lambda name: rank(sources[name])) or [""]
        if weak and rank(sources[strong]) == rank(sources[weak[0]]):
            raise SettingsError(f"{flag(table[pair[0]])} and {flag(table[pair[1]])} exclude each other.")
        for name in weak:
            values[name], sources[name] = table[name].default, "default"


def check_keys(place: str, table: Mapping[str, Any]) -> None:
    known = [key_of(f) for f in options()]
    for name in table:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]!r}?" if near else "`config show` lists the settings."
            raise SettingsError(f"unknown setting {name!r} in {place}: {hint}")


def check_variables(environments: Sequence[tuple[str, Mapping[str, str]]]) -> None:
    """A slip in one of our variables. What is not even near to one may be somebody else's."""
    known = [PREFIX + f.name.upper() for f in options()]
    for source, env in environments:
        for name in env:
            near = difflib.get_close_matches(name, known, 1, 0.85) if name.startswith(PREFIX) else []
            if near and name not in known:
                raise SettingsError(f"unknown variable {name} in the {source}: did you mean {near[0]}?")


def masked(name: str, value: str) -> str:
    """A value that may be shown: keys lose everything but their last two characters, addresses who logs in there."""
    secret = any(word in name.upper() for word in SECRET_WORDS)
    if secret and value:
        return f"…{value[-2:]}" if len(value) > 8 else "…"
    return re.sub(r"://[^/@\s]+@", "://…@", value)
