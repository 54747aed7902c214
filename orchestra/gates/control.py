"""Add a test that must fail to a project's own tests: a runner that does not report it cannot be trusted. Pure."""

import re
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

from orchestra.gates.detect import MAKEFILES, npm_scripts
from orchestra.gates.readers import FAILED, PASSED
from orchestra.gates.recorded_tests import RecordedTests, files_of_tests, function_of
from orchestra.gates.run import GateOutcome

# The runners for which we can write a test, with the words by which a command calls them. The first match counts.
END = r"(?![\w/-]|\.\w)"
RUNNERS = {
    "pytest": rf"(?<![\w.-])(?:pytest|py\.test){END}",
    "unittest": rf"-m\s+unittest{END}|\bmanage\.py\s+test{END}",
    "vitest": rf"(?<![\w.-])vitest{END}",
    "jest": rf"(?<![\w.-])jest{END}|(?<![\w.-])react-scripts\s+test{END}",
    "mocha": rf"(?<![\w.-])mocha{END}",
    "node": r"(?<![\w.-])node\b[^|;&\n]*\s--test(?![\w-])",
    "go": rf"(?<![\w.-])(?:go\s+test|gotestsum){END}",
    "cargo": rf"(?<![\w.-])cargo\s+(?:\S+\s+)?(?:test|nextest){END}",
}
SCRIPTED = re.compile(r"\b(?:npm|pnpm|yarn|bun)\s+(?:run\s+|run-script\s+)?(?:--?\S+\s+)*([\w:.-]+)")
MAKE = re.compile(r"\bg?make\s+(?:-\S+\s+)*([\w.-]+)")
PYTHON = ("pytest", "unittest")
DEEPEST = 4
MOST_FILES = 30
CONTROL_MESSAGE = "a control test of the orchestrator, which must fail"


def find_runner(command: str, texts: Mapping[str, str], roll: RecordedTests) -> str:
    """Return the runner behind a gate's command, empty if it is unknown. `texts`: the base's set-up files."""
    if roll.runner in PYTHON:
        return roll.runner
    spoken = "\n".join([command, *command_steps(command, texts)])
    return next((runner for runner, pattern in RUNNERS.items() if re.search(pattern, spoken)), "")


def command_steps(command: str, texts: Mapping[str, str], depth: int = 0) -> list[str]:
    """Return what npm scripts and make targets run, including those that they call."""
    steps = []
    if hit := SCRIPTED.search(command):
        name = {"t": "test"}.get(hit[1], hit[1])
        scripts = npm_scripts(texts.get("package.json", ""))
        steps += [" && ".join(scripts[key] for key in (f"pre{name}", name, f"post{name}") if key in scripts)]
    if hit := MAKE.search(command):
        makefile = next((texts[name] for name in MAKEFILES if name in texts), "")
        steps += [make_recipe(makefile, hit[1])]
    found = [step for step in steps if step]
    return found + [more for step in found if depth < DEEPEST for more in command_steps(step, texts, depth + 1)]


def make_recipe(makefile: str, target: str, seen: tuple[str, ...] = ()) -> str:
    """Return a target's commands and those of its dependencies, with variables expanded."""
    hit = re.search(
        rf"^{re.escape(target)}[ \t]*::?(?!=)([^\n#]*)\n((?:[\t ]+[^\n]*\n|[ \t]*\n)*)", f"{makefile}\n", re.M
    )
    if hit is None or target in seen or len(seen) > DEEPEST:
        return ""
    needs = [make_recipe(makefile, need, (*seen, target)) for need in hit[1].split()]
    text = "\n".join([hit[2], *needs])
    variables = dict(re.findall(r"^(\w+)[ \t]*[:?+]?=[ \t]*(.*)$", makefile, re.M))
    return re.sub(r"\$[({](\w+)[)}]", lambda name: variables.get(name[1], name[0]), text)


def find_set_up_files(files: Iterable[str]) -> list[str]:
    """Find the files that define what a gate's command does."""
    names = {*MAKEFILES, "package.json"}
    return [path for path in files if path in names]


# A pytest command and configuration without any word that could name a plug-in.
PLAIN_PYTEST = re.compile(
    r"(?:\S*python\S* -m )?\S*pytest(?: (?:-[qvxs]+|-p no:\w+|--continue-on-collection-errors|[\w./]+))*"
)
PLUGINS = re.compile(r"addopts|required_plugins|asyncio_mode|strict|pytest_plugins|filterwarnings")


def needs_no_plugins(command: str, configuration: Iterable[str]) -> bool:
    return bool(PLAIN_PYTEST.fullmatch(command)) and not any(PLUGINS.search(text) for text in configuration)


JS_TEST = re.compile(
    r"(?:[._-](?:test|spec)|(?:^|/)tests?)\.[cm]?[jt]sx?$|(?:^|/)(?:tests?|specs?|__tests__)/.+\.[cm]?[jt]sx?$"
)
TEST_FILES = {
    **dict.fromkeys(("node", "jest", "vitest", "mocha"), JS_TEST),
    "go": re.compile(r"_test\.go$"),
    "cargo": re.compile(r"(?:^|/)Cargo\.toml$"),
}
JS_CALL = re.compile(r"^[ \t]*(?:await )?(test|it)(?:\.\w+)?\s*\(", re.M)


def control_candidates(runner: str, files: Iterable[str], roll: RecordedTests) -> list[str]:
    """Return the files beside whose tests the control test may be put."""
    known = sorted(files)
    if runner in PYTHON:
        found = files_of_tests([name for name, outcome in roll.tests.items() if outcome == PASSED], set(known))
        return [path for path in found if path.endswith(".py")][: 1 if runner == "pytest" else MOST_FILES]
    pattern = TEST_FILES.get(runner)
    return [path for path in known if pattern and pattern.search(path)][:MOST_FILES]


def control_files(runner: str, name: str, texts: Mapping[str, str]) -> dict[str, str]:
    """Return files with the control test added, from those candidates that can hold it."""
    if runner == "cargo":
        packages = [path for path, text in texts.items() if "[package]" in text and "autotests" not in text]
        test = f'#[test]\nfn {name}() {{\n    panic!("{CONTROL_MESSAGE}");\n}}\n'
        return {str(PurePosixPath(path).parent / "tests" / f"{name}.rs"): test for path in packages}
    if runner == "pytest":
        test = f"\n\n\ndef {name}():\n    raise AssertionError({CONTROL_MESSAGE!r})\n"
        added = dict.fromkeys(list(texts)[:1], test)
    elif runner == "unittest":
        able = [path for path, text in texts.items() if "load_tests" not in text]
        test = f"class Case_{name}(unittest.TestCase):\n    def {name}(self):\n        self.fail({CONTROL_MESSAGE!r})\n"
        added = dict.fromkeys(able[:3], f"\n\n\nimport unittest\n\n\n{test}")
    elif runner == "go":
        test = f'\n\nfunc {go_test_name(name)}(t *testing.T) {{\n\tt.Fatal("{CONTROL_MESSAGE}")\n}}\n'
        added = dict.fromkeys(one_file_per_package(texts), test)
    else:
        # Call the function with which the file itself defines its tests.
        calls = {path: hit[1] for path, text in texts.items() if (hit := JS_CALL.search(text))}
        fails = f"{name!r}, () => {{ throw new Error({CONTROL_MESSAGE!r}) }}"
        added = {path: f"\n;{call}({fails});\n" for path, call in calls.items()}
    return {path: texts[path] + test for path, test in added.items()}


def control_name(roll: RecordedTests, word: str) -> str:
    """Name the control test like the project's own tests, so that the runner finds it."""
    passed = [function_of(name).replace("::", ".").rpartition(".")[2] for name in roll.names_with(PASSED)]
    own = min((name for name in passed if name.isidentifier()), default="test") if roll.runner in PYTHON else "test"
    return f"{own}_control_{word}"


def go_test_name(name: str) -> str:
    return "Test" + name.replace("_", "X")


def one_file_per_package(texts: Mapping[str, str]) -> list[str]:
    """Return a test file of each Go package, where a name is allowed only once."""
    found = dict[tuple[str, str], str]()
    for path, text in texts.items():
        package = re.search(r"^package (\w+)", text, re.M)
        if package and re.search(r'^\s*(?:import )?"testing"$', text, re.M):
            found.setdefault((str(PurePosixPath(path).parent), package[1].removesuffix("_test")), path)
    return list(found.values())


def is_control_reported(outcome: GateOutcome, name: str, files: Iterable[str]) -> bool:
    """Whether the run failed because of the control test. A file that could not be loaded with it counts too: such a
    runner does not hide failures."""
    if outcome.ended.code == 0 or outcome.ended.timed_out:
        return False
    signs = {name, go_test_name(name), *files}
    named = {*outcome.failing, *outcome.roll.names_with(FAILED)}
    return any(sign in failure for failure in named for sign in signs)
