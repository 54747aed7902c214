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
from orchestra.plan.roles import TABLE as ROLES
from orchestra.plan.roles import Role, parse_roles
from orchestra.redact import is_marked

PREFIX = "ORCHESTRA_"
# Where values come from, the strongest first. The settings file follows, then the defaults.
REPOSITORY_ENV, SCRIPT_ENV = "repository .env", "script .env"
PLACES = ("flag", "environment", REPOSITORY_ENV, SCRIPT_ENV)
TRUE, FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off", "")


def option(
    default: Any,
    help: str,
    *,
    group: str,
    env: tuple[str, ...] = (),
    metavar: str = "",
    off: bool = False,
    zero: bool = False,
) -> Any:
    told = {"help": help, "group": group, "env": env, "metavar": metavar, "off": off, "zero": zero}
    return field(default=default, metadata=told)


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
    together: tuple[str, ...] = option(
        (), "files that one agent must get: each GLOB is a group", group="work", metavar="GLOB"
    )
    assign: str = option(
        "", "who gets which files: a JSON file with a list of files for each agent", group="work", metavar="FILE"
    )
    prd: str = option("", "use this PRD instead of asking Gemini for one", group="work", metavar="FILE")
    use_prd: bool = option(True, "work without a PRD", group="work", off=True)
    plan: str = option(
        "", "carry out this plan: a name from `plan list`, or a plan's file", group="work", metavar="NAME"
    )
    decompose: bool = option(
        False, "have Gemini make a graph of tasks, with what each needs, instead of dividing files", group="work"
    )
    approve: bool = option(
        False, "wait for your yes to the plan before agents start (without a terminal: exit code 5)", group="work"
    )
    commit_prd: bool = option(False, "commit the PRD with the change", group="work")
    dry_run: bool = option(False, "show the plan and its cost, run nothing", group="work")

    agents: int = option(0, "exactly N agents, as far as there are files", group="agents", metavar="N")
    max_agents: int = option(
        0, "at most N agents (default: what cores, memory and files allow)", group="agents", metavar="N"
    )
    agents_per_task: int = option(
        1, "attempts at each task side by side, of which the best is kept", group="agents", metavar="K"
    )
    max_iterations: int = option(
        10, "model replies per attempt, at most", group="agents", env=("AIDER_MAX_ITERATIONS",), metavar="N"
    )
    retries: int = option(4, "further attempts at a task that failed, at most", group="agents", metavar="N", zero=True)
    ask: str = option(
        "terminal",
        "whether a task that failed for good waits for a person: terminal (where one can be asked), always, never",
        group="agents",
        metavar="WHEN",
    )
    agent_timeout: float = option(
        1800.0, "the time for one attempt; waiting in the gateway does not count", group="agents", metavar="TIME"
    )
    conversation_kb: int = option(
        1024,
        "kilobytes kept of each attempt's conversation, at most; 0 keeps none",
        group="agents",
        metavar="KB",
        zero=True,
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

    budget: float = option(0.0, "dollars that the run may cost, the PRD included", group="limits", metavar="USD")
    task_budget: float = option(0.0, "dollars that each task may cost", group="limits", metavar="USD")
    max_tokens: int = option(0, "tokens that the run may use, in and out", group="limits", metavar="N")
    deadline: float = option(
        0.0, "the time for the run (90s, 30m, 2h); then what is finished is integrated", group="limits", metavar="TIME"
    )
    rpm: int = option(0, "requests per minute to a model, if you know how many it takes", group="limits", metavar="N")
    price: tuple[str, ...] = option(
        (),
        "dollars per million tokens in and out of the agents' model, or of another one as NAME=IN,OUT",
        group="limits",
        metavar="IN,OUT",
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
    critic_model: str = option(
        "",
        "the model that reviews with --critic (default: the one that writes the PRD)",
        group="models",
        metavar="NAME",
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
    lint_cmd: str = option("", "a linter that it must pass", group="result", metavar="CMD")
    type_cmd: str = option("", "a type checker that it must pass", group="result", metavar="CMD")
    gate: tuple[str, ...] = option(
        (), "any other check, by a name of yours; without CMD, leave one out", group="result", metavar="NAME=CMD"
    )
    detect: bool = option(True, "use only the checks given, look for none in the repository", group="result", off=True)
    critic: bool = option(False, "have a model review each task's change against its acceptance checks", group="result")
    gate_timeout: float = option(1800.0, "seconds for one gate", group="result", metavar="S")
    apply: bool = option(True, "leave the result on its side branch", group="result", off=True)
    all_or_nothing: bool = option(False, "apply nothing unless every task is complete", group="result")
    store: str = option(
        "",
        "where all events are kept as well: a database URL (default: SQLite in .aider_logs)",
        group="result",
        metavar="URL",
    )
    events: str = option(
        "", "print every event as a line of JSON on stdout: -; the words then go to stderr", group="result", metavar="-"
    )
    record: str = option(
        "", "record the run's model traffic on a new tape, without keys", group="result", metavar="FILE"
    )
    replay: str = option(
        "", "run again what is on a tape: no provider is asked, no key is needed", group="result", metavar="FILE"
    )
    replay_strict: bool = option(
        False, "exit 2 when a replayed run asks for anything else than is on the tape", group="result"
    )
    json: bool = option(False, "print the summary, or of a dry run the plan, as JSON on stdout", group="result")
    quiet: bool = option(False, "print only the result", group="result")
    verbose: bool = option(False, "print every event", group="result")

    branch: str = option(
        "", "put the result on this branch, and leave yours where it is", group="handover", metavar="NAME"
    )
    push: bool = option(False, "push the branch that has the result", group="handover")
    pr: bool = option(
        False,
        "push the result as a branch of its own, and open a pull or merge request (GitHub, GitLab)",
        group="handover",
    )
    patch: str = option("", "write the whole result as one patch for `git apply`", group="handover", metavar="FILE")
    notify: str = option(
        "", "POST the verdict as JSON to this address when the run ends", group="handover", metavar="URL"
    )

    # The settings file's table of prices: a model's name, and dollars per million tokens in and out.
    prices: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    # Its tables of roles, as far as they say something else than the package's.
    roles: Mapping[str, Role] = field(default_factory=dict)
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

    @property
    def known_prices(self) -> dict[str, tuple[float, float]]:
        """Those of the file, and those of --price, where "" is the agents' model."""
        return dict(self.prices) | dict(parse_price(text, "--price") for text in self.price)

    @property
    def own_branch(self) -> str:
        """The flag by which the result is to be on a branch of its own, and the user's is left where it is."""
        return "--branch" if self.branch else "--pr" if self.pr else ""

    def options(self) -> dict[str, Any]:
        """The values that a resumed run goes on with: all but the keys, which are never written down."""
        # Who knows the address of a chat's hook may write to that chat.
        secret = {"api_key", "notify"} | ({"store"} if PASSWORD.search(self.store) else set())
        return {f.name: getattr(self, f.name) for f in options() if f.name not in secret}

    def resumed(self, before: Mapping[str, Any]) -> "Settings":
        """The settings of a run as it was, but for what is said anew by a flag."""
        given = {name for name, source in self.sources.items() if source == "flag"}
        given |= {rival for pair in RIVALS if given & set(pair) for rival in pair}
        kept = {f.name: before[f.name] for f in options() if f.name in before and f.name not in given}
        for name, value in list(kept.items()):
            if is_marked(value):
                del kept[name]
                if self.source(name) == "default":
                    option = next(flag(f) for f in options() if f.name == name)
                    raise SettingsError(f"{option} held a secret, which was not written down: give it again.")
        return self.with_values(**{name: tuple(v) if isinstance(v, list) else v for name, v in kept.items()})

    def source(self, name: str) -> str:
        return self.sources.get(name, "default")

    def is_users(self, name: str) -> bool:
        """Whether the value is the user's own, and not from a settings file, which comes with the repository."""
        return self.source(name) == "default" or rank(self.source(name)) < len(PLACES)

    def with_values(self, **values: Any) -> "Settings":
        return dataclasses.replace(self, **values)


PRICES = "prices"
MOST_PER_TASK = 16
UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0}
RIVALS = (
    *(("agents", "max_agents"), ("assign", "agents"), ("assign", "together")),
    *(("plan", "change"), ("plan", "files"), ("plan", "assign"), ("plan", "decompose"), ("decompose", "files")),
    *(("prd", "use_prd"), ("model", "claude"), ("record", "replay"), ("events", "json")),
)
PASSWORD = re.compile("//[^/@]*:[^/@]*@")
ADDRESS = re.compile(r"https?://[^/\s]+")
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
    file = with_gates(*file)
    check_keys(*file)
    check_variables(environments)
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for f in options():
        values[f.name], sources[f.name] = pick(f, flags, environments, file)
    settle_rivals(values, sources)
    for entry in values["gate"]:
        if not entry.partition("=")[0].strip() or "=" not in entry:
            raise SettingsError(f"--gate {entry!r}: write it as NAME=CMD.")
        if values["critic"] and entry.partition("=")[0].strip() == "critic":
            raise SettingsError(f"--gate {entry!r}: with --critic, that name is taken.")
    if values["agents_per_task"] > MOST_PER_TASK:
        raise SettingsError(f"--agents-per-task must be at most {MOST_PER_TASK}, not {values['agents_per_task']}.")
    if values["gemini_client"] not in ("rest", "sdk"):
        raise SettingsError(f"GEMINI_CLIENT must be rest or sdk, not {values['gemini_client']!r}.")
    for text in values["price"]:
        parse_price(text, "--price")
    if values["ask"] not in ("terminal", "always", "never"):
        raise SettingsError(f"--ask must be terminal, always or never, not {values['ask']!r}.")
    if values["notify"] and not ADDRESS.match(values["notify"]):
        raise SettingsError("--notify must be an address that begins with http:// or https://.")
    if values["events"] not in ("", "-"):
        raise SettingsError(f"--events knows only -, which is stdout, and not {values['events']!r}.")
    # However it was given, it is the Google key, with its place, so that no base URL from elsewhere gets it.
    google = (sources["api_key"], {"GOOGLE_API_KEY": values["api_key"]})
    tables: dict[str, Any] = {"prices": parse_prices(*file), "roles": parse_roles(*file)}
    sources |= dict.fromkeys((f"{ROLES}.{name}" for name in tables["roles"]), file[0])
    return Settings(**values, **tables, sources=sources, variables=merged([google, *environments]))


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
    if f.metadata["metavar"] == "TIME":
        value = parse_time(value)
    return parse_number(kind, value, place, zero=f.metadata["zero"])


def parse_time(value: Any) -> Any:
    """30m, 1h30m, 90s: in seconds. A plain number is that already."""
    text = str(value).replace(" ", "").lower()
    if not re.fullmatch(r"(\d+(\.\d+)?[hms])+", text):
        return value
    return sum(float(count) * UNITS[unit] for count, unit in re.findall(r"([\d.]+)([hms])", text))


def parse_price(text: str, place: str) -> tuple[str, tuple[float, float]]:
    """1.25,10 or openai/my-model=1.25,10."""
    name, _, numbers = text.rpartition("=")
    return name.strip(), price_pair(numbers.split(","), f"{place} {text}")


def parse_prices(place: str, table: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    found = table.get(PRICES, {})
    if not isinstance(found, Mapping):
        raise SettingsError(f"{PRICES} in {place} is not a table.")
    return {
        name: price_pair(pair.split(",") if isinstance(pair, str) else pair, f"{PRICES} in {place}: {name}")
        for name, pair in found.items()
    }


def price_pair(pair: Any, place: str) -> tuple[float, float]:
    try:
        price_in, price_out = (float(number) for number in pair)
    except (TypeError, ValueError):
        price_in = price_out = -1.0
    if not (0 <= price_in < math.inf and 0 <= price_out < math.inf):
        raise SettingsError(f"{place}: say the dollars per million tokens in and out, like 1.25,10.")
    return price_in, price_out


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


def parse_number(kind: type, value: Any, place: str, zero: bool = False) -> Any:
    """All our numbers are counts, seconds and dollars: not without end, and more than none where none means nothing."""
    if zero and str(value).strip() == "0":
        return kind(0)
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


def with_gates(place: str, table: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """A settings file's [gates] table, each entry as --gate would have it; `name = false` leaves a found one out."""
    gates = table.get("gates", {})
    if not isinstance(gates, dict):
        raise SettingsError(f"gates in {place} is not a table.")
    for name, command in gates.items():
        if not (isinstance(command, str) or command is False):
            raise SettingsError(f"{name} under gates in {place} must be a command, or false.")
    said = [f"{name}={command or ''}" for name, command in gates.items()]
    rest = {name: value for name, value in table.items() if name != "gates"}
    return place, rest | ({"gate": [*rest.get("gate", []), *said]} if said else {})


def check_keys(place: str, table: Mapping[str, Any]) -> None:
    known = [*(key_of(f) for f in options()), PRICES, ROLES]
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
    if name == "notify" and (found := ADDRESS.match(value)):
        value = f"{found[0]}/…"
    return re.sub(r"://[^/@\s]+@", "://…@", value)
