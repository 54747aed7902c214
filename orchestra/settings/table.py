"""The table of options: help, power, conflicts, and whether a recording restores the value.

A new option is an entry here, and the place that uses it. `recorded` options decide the requests of a run. Commands,
addresses and places to write are never recorded, because a recording may come from anybody. Checks, limits of money and
time, and the display belong to the machine and the person that replays.
"""

from dataclasses import dataclass
from functools import partial

from orchestra.settings.option import Power, check_address, check_gate, check_price, check_stdout, define_option

for_work = partial(define_option, group="work")
for_agents = partial(define_option, group="agents")
for_limits = partial(define_option, group="limits")
for_models = partial(define_option, group="models")
for_result = partial(define_option, group="result")
for_handover = partial(define_option, group="handover")


@dataclass(frozen=True)
class Options:
    """The value of each option, in the order in which the help lists them."""

    change: str = for_work(
        "", "what to change; @FILE reads it from a file, - from stdin", Power.READS, recorded=True, metavar="TEXT"
    )
    repo: str = for_work(
        "",
        "the repository: a path, or a URL to clone first (default: the current directory)",
        Power.STEERS,
        recorded=False,
        metavar="PATH",
    )
    files: tuple[str, ...] = for_work(
        (),
        "the files to change: paths, directories, globs (default: the PRD decides)",
        Power.HARMLESS,
        recorded=True,
        metavar="FILE",
    )
    together: tuple[str, ...] = for_work(
        (), "files that go to the same agent: each GLOB is a group", Power.HARMLESS, recorded=True, metavar="GLOB"
    )
    assign: str = for_work(
        "",
        "the files of each agent: a JSON file with a list of lists",
        Power.READS,
        recorded=True,
        metavar="FILE",
        conflicts=("agents", "together"),
    )
    prd: str = for_work(
        "",
        "use this PRD instead of asking Gemini for one",
        Power.READS,
        recorded=True,
        metavar="FILE",
        conflicts=("use_prd",),
    )
    use_prd: bool = for_work(True, "work without a PRD", Power.SPENDS, recorded=True, off=True)
    plan: str = for_work(
        "",
        "execute this plan: a name from `plan list`, or a plan's file",
        Power.READS,
        recorded=True,
        metavar="NAME",
        conflicts=("change", "files", "assign", "decompose"),
    )
    decompose: bool = for_work(
        False,
        "have Gemini make a graph of tasks with dependencies, instead of dividing files",
        Power.SPENDS,
        recorded=True,
        conflicts=("files",),
    )
    approve: bool = for_work(
        False,
        "ask you to approve the plan before agents start (without a terminal: exit code 5)",
        Power.HARMLESS,
        recorded=False,
    )
    commit_prd: bool = for_work(False, "commit the PRD with the change", Power.HARMLESS, recorded=True)
    trust_repo: bool = for_work(
        False, "use all of a committed settings file (see `trust`)", Power.CONSENTS, recorded=False
    )
    dry_run: bool = for_work(False, "only print the plan and its estimated cost", Power.STEERS, recorded=False)

    agents: int = for_agents(
        0,
        "exactly N agents, or fewer if there are fewer files",
        Power.HARMLESS,
        recorded=True,
        metavar="N",
        conflicts=("max_agents",),
    )
    max_agents: int = for_agents(
        0, "at most N agents (default: what cores, memory and files allow)", Power.HARMLESS, recorded=True, metavar="N"
    )
    agents_per_task: int = for_agents(
        1,
        "parallel attempts at each task, of which the best is kept",
        Power.SPENDS,
        recorded=True,
        metavar="K",
        most=16,
    )
    max_iterations: int = for_agents(
        10,
        "model replies per attempt, at most",
        Power.SPENDS,
        recorded=True,
        env=("AIDER_MAX_ITERATIONS",),
        metavar="N",
    )
    retries: int = for_agents(
        4, "further attempts at a task that failed, at most", Power.SPENDS, recorded=True, metavar="N", zero=True
    )
    ask: str = for_agents(
        "terminal",
        "whether a task that failed finally waits for your decision: terminal (if you can be asked), always, never",
        Power.HARMLESS,
        recorded=False,
        metavar="WHEN",
        choices=("terminal", "always", "never"),
    )
    agent_timeout: float = for_agents(
        1800.0, "the time for one attempt, without waiting in the gateway", Power.SPENDS, recorded=False, metavar="TIME"
    )
    conversation_kb: int = for_agents(
        1024,
        "kilobytes kept of each attempt's conversation, at most; 0 keeps none",
        Power.SPENDS,
        recorded=False,
        metavar="KB",
        zero=True,
    )
    worktree_copy: tuple[str, ...] = for_agents(
        (), "untracked files to copy into each worktree (.env.test)", Power.READS, recorded=False, metavar="PATH"
    )
    worktree_link: tuple[str, ...] = for_agents(
        (),
        "untracked paths to link into each worktree (node_modules, .venv)",
        Power.WRITES,
        recorded=False,
        metavar="PATH",
    )
    setup_cmd: str = for_agents(
        "", "a command to run in each fresh worktree", Power.TESTS, recorded=False, metavar="CMD"
    )
    aider_args: str = for_agents(
        "", "more options for Aider, as one string", Power.RUNS, recorded=False, metavar="ARGS"
    )
    fork_server: bool = for_agents(
        True,
        "start each Aider as a new process instead of forking a loaded one",
        Power.HARMLESS,
        recorded=False,
        off=True,
    )

    budget: float = for_limits(
        0.0, "dollars that the run may cost, the PRD included", Power.SPENDS, recorded=False, metavar="USD"
    )
    task_budget: float = for_limits(0.0, "dollars that each task may cost", Power.SPENDS, recorded=False, metavar="USD")
    max_tokens: int = for_limits(
        0, "tokens that the run may use, in and out", Power.SPENDS, recorded=False, metavar="N"
    )
    deadline: float = for_limits(
        0.0,
        "the time for the run (90s, 30m, 2h); then finished work is combined",
        Power.SPENDS,
        recorded=False,
        metavar="TIME",
    )
    rpm: int = for_limits(
        0, "requests per minute to a model, if you know its limit", Power.HARMLESS, recorded=False, metavar="N"
    )
    price: tuple[str, ...] = for_limits(
        (),
        "dollars per million input and output tokens of the agents' model; NAME=IN,OUT for another one",
        Power.SPENDS,
        recorded=False,
        metavar="IN,OUT",
        check=check_price,
    )

    model: str = for_models(
        "",
        "the agents' model",
        Power.CHOOSES_MODEL,
        recorded=True,
        env=("DEFAULT_AIDER_MODEL", "LITELLM_MODEL"),
        metavar="NAME",
        conflicts=("claude",),
    )
    claude: bool = for_models(False, "use the default Claude model", Power.CHOOSES_MODEL, recorded=True)
    claude_model: str = for_models(
        "",
        "the model that --claude uses",
        Power.CHOOSES_MODEL,
        recorded=True,
        env=("DEFAULT_CLAUDE_MODEL",),
        metavar="NAME",
    )
    gemini_model: str = for_models(
        "",
        "the model that writes the PRD",
        Power.CHOOSES_MODEL,
        recorded=True,
        env=("DEFAULT_GEMINI_MODEL",),
        metavar="NAME",
    )
    critic_model: str = for_models(
        "",
        "the model that reviews with --critic (default: the one that writes the PRD)",
        Power.CHOOSES_MODEL,
        recorded=True,
        metavar="NAME",
    )
    gemini_client: str = for_models(
        "rest",
        "rest, or sdk for google-generativeai",
        Power.RUNS,
        recorded=False,
        env=("GEMINI_CLIENT",),
        metavar="NAME",
        choices=("rest", "sdk"),
    )
    api_key: str = for_models(
        "",
        "Google API key (better: GOOGLE_API_KEY in the environment)",
        Power.SENDS,
        recorded=False,
        env=("GOOGLE_API_KEY", "GEMINI_API_KEY"),
        metavar="KEY",
    )

    test_cmd: str = for_result(
        "", "tests that the combined result must pass", Power.TESTS, recorded=False, metavar="CMD"
    )
    lint_cmd: str = for_result("", "a linter that it must pass", Power.TESTS, recorded=False, metavar="CMD")
    type_cmd: str = for_result("", "a type checker that it must pass", Power.TESTS, recorded=False, metavar="CMD")
    gate: tuple[str, ...] = for_result(
        (),
        "another check under a name of your choice; without CMD, leave out the check NAME",
        Power.TESTS,
        recorded=False,
        metavar="NAME=CMD",
        check=check_gate,
    )
    detect: bool = for_result(
        True,
        "use only the checks given; do not look for others in the repository",
        Power.HARMLESS,
        recorded=False,
        off=True,
    )
    strict: bool = for_result(
        False,
        "exit 1 when agents changed, skipped or removed tests that verify the result",
        Power.HARMLESS,
        recorded=False,
    )
    require_tests: bool = for_result(False, "exit 1 when no tests verify the result", Power.HARMLESS, recorded=False)
    critic: bool = for_result(
        False, "have a model review each task's change against its acceptance checks", Power.SPENDS, recorded=True
    )
    sandbox: str = for_result(
        "auto",
        "protect your keys and files from tests and set-up commands: auto (as far as the system allows), off, require",
        Power.RUNS,
        recorded=False,
        metavar="HOW",
        choices=("auto", "off", "require"),
    )
    sandbox_net: str = for_result(
        "",
        "the network of tests and set-up commands: on, or off for loopback only (default: off for a fork)",
        Power.RUNS,
        recorded=False,
        metavar="on|off",
        choices=("on", "off"),
    )
    gate_timeout: float = for_result(1800.0, "seconds for one gate", Power.TESTS, recorded=False, metavar="S")
    apply: bool = for_result(True, "leave the result on its side branch", Power.HARMLESS, recorded=True, off=True)
    all_or_nothing: bool = for_result(
        False, "apply nothing unless every task is complete", Power.HARMLESS, recorded=True
    )
    store: str = for_result(
        "",
        "a database URL for all events (default: SQLite in .aider_logs)",
        Power.WRITES,
        recorded=False,
        metavar="URL",
    )
    events: str = for_result(
        "",
        "- prints every event as a line of JSON on stdout, and other text on stderr",
        Power.HARMLESS,
        recorded=False,
        metavar="-",
        conflicts=("json",),
        check=check_stdout,
    )
    record: str = for_result(
        "",
        "record the model traffic of the run in a new file, without keys",
        Power.WRITES,
        recorded=False,
        metavar="FILE",
        conflicts=("replay",),
    )
    replay: str = for_result(
        "",
        "repeat a recorded run without requests to providers and without keys",
        Power.STEERS,
        recorded=False,
        metavar="FILE",
    )
    replay_strict: bool = for_result(
        False, "exit 2 when a replayed run makes a request that is not recorded", Power.HARMLESS, recorded=False
    )
    json: bool = for_result(
        False, "print the summary (or the plan of a dry run) as JSON on stdout", Power.HARMLESS, recorded=False
    )
    quiet: bool = for_result(False, "print only the result", Power.HARMLESS, recorded=False)
    verbose: bool = for_result(False, "print every event", Power.HARMLESS, recorded=False)

    branch: str = for_handover(
        "", "put the result on this branch, and do not move yours", Power.HANDS_OVER, recorded=False, metavar="NAME"
    )
    push: bool = for_handover(False, "push the branch that has the result", Power.HANDS_OVER, recorded=False)
    pr: bool = for_handover(
        False,
        "push the result as a new branch, and open a pull or merge request (GitHub, GitLab)",
        Power.HANDS_OVER,
        recorded=False,
    )
    patch: str = for_handover(
        "", "write the whole result as one patch for `git apply`", Power.WRITES, recorded=False, metavar="FILE"
    )
    notify: str = for_handover(
        "",
        "POST the verdict as JSON to this address when the run ends",
        Power.SENDS,
        recorded=False,
        metavar="URL",
        check=check_address,
    )
