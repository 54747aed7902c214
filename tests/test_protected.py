"""Which files act by themselves, what an edit of a manifest does, and when a person has asked for one."""

import importlib.util
import json
import re

import pytest

from orchestra.judge.manifests import DEPENDENCIES, NotPlainEdit, changes_own_settings, manifest_changes
from orchestra.judge.manifests import TEST_SETUP as NAMED_SETUP
from orchestra.judge.permit import Permit
from orchestra.judge.protected import NAMES, TEST_SETUP, ProtectedKind, is_own_file, is_test_setup, protection_of
from orchestra.process import CHILD

# --- the table ------------------------------------------------------------------------------------------------------

PROTECTED = {
    ProtectedKind.CI: """
        .github/workflows/ci.yml .github/actions/x/action.yml .github/CODEOWNERS .gitlab-ci.yml
        .circleci/config.yml Jenkinsfile ci/Jenkinsfile.release azure-pipelines.yml
        azure-pipelines-release.yaml .azure-pipelines/x.yml .buildkite/pipeline.yml .travis.yml
        bitbucket-pipelines.yml appveyor.yml .drone.yml .woodpecker/x.yml .cirrus.yml .forgejo/workflows/x.yml
        .gitea/workflows/x.yml .tekton/x.yaml cloudbuild.yaml netlify.toml vercel.json
        sub/.github/workflows/ci.yml template/.gitlab/ci.yml
        """,
    ProtectedKind.HOOK: """
        .githooks/pre-commit .husky/pre-push .pre-commit-config.yaml lefthook.yml .lefthook.toml
        lint-staged.config.mjs .lintstagedrc.json git-hooks/x commitlint.config.js .commitlintrc
        """,
    ProtectedKind.BUILD: """
        Makefile makefile GNUmakefile sub/Makefile Makefile.am rules.mk setup.py setup.cfg build.rs
        CMakeLists.txt x.cmake CMakePresets.json Rakefile lib/tasks/x.rake Justfile justfile Taskfile.yml
        Dockerfile Dockerfile.dev docker/app.Dockerfile Containerfile docker-compose.yml compose.prod.yaml
        tox.ini noxfile.py configure configure.ac meson.build SConstruct BUILD BUILD.bazel WORKSPACE x.bzl
        pom.xml build.gradle build.gradle.kts settings.gradle gradlew mvnw
        gradle/wrapper/gradle-wrapper.properties buildSrc/src/x.kt build.sbt Gemfile x.gemspec Package.swift
        mix.exs build.zig Vagrantfile Procfile composer.json app/App.csproj Directory.Build.props x.nix
        shell.nix x.spec build.sh scripts/build.sh Gruntfile.js gulpfile.mjs hatch_build.py Pipfile
        environment.yml binding.gyp dune
        """,
    ProtectedKind.TOOL: """
        webpack.config.js webpack.prod.config.js vite.config.ts babel.config.cjs eslint.config.mjs
        next.config.ts tailwind.config.js tsconfig.json tsconfig.build.json nx.json turbo.json angular.json
        mypy.ini pylintrc ruff.toml sitecustomize.py lib/usercustomize.py evil.pth pip.conf uv.toml mise.toml
        docs/conf.py docs/source/conf.py mkdocs.yml deno.json rust-toolchain.toml pnpm-workspace.yaml
        nodemon.json ecosystem.config.js phpstan.neon knexfile.js
        """,
    ProtectedKind.LOCK: """
        package-lock.json yarn.lock pnpm-lock.yaml poetry.lock uv.lock Cargo.lock sub/Gemfile.lock
        composer.lock
        """,
    ProtectedKind.AGENT: """
        AGENTS.md CLAUDE.md sub/CLAUDE.local.md GEMINI.md .claude/settings.json .codex/config.toml
        .cursor/mcp.json .cursorrules .aider.conf.yml .mcp.json mcp.json .windsurfrules .clinerules
        CONVENTIONS.md
        """,
    ProtectedKind.DOTFILE: """
        .envrc .env .gitattributes sub/.gitattributes .gitmodules .vscode/tasks.json .vscode/settings.json
        .idea/workspace.xml .devcontainer/devcontainer.json .devcontainer.json .cargo/config.toml
        sub/.cargo/config .mise.toml .tool-versions .npmrc .yarnrc .yarnrc.yml .yarn/releases/yarn.cjs
        .eslintrc.js .prettierrc.cjs .babelrc .pylintrc .flake8 .bazelrc .storybook/main.ts
        .config/nextest.toml .mvn/extensions.xml .changeset/config.json .direnv/x .gitconfig .bashrc
        """,
    ProtectedKind.OWN: """
        .aider_logs/.gitignore .aider_logs/plans/x.toml sub/.aider_logs/x aider-orchestrator.toml
        """,
}
FREE = """
    a.py src/app.py README.md docs/guide.md src/app.config.ts src/firebase.config.js src/build.py build/lib.py
    config.py src/conf.py settings.py tasks.py manage.py app.json data.json src/workspace.ts src/configure.ts
    make.py x.spec.ts .gitignore sub/.gitignore .editorconfig .env.example .gitkeep .dockerignore
    .changeset/brave-cats.md index.html .well-known/security.txt tests/test_build.py hooks/useThing.ts
    src/hooks/index.ts locks.py package.json pyproject.toml requirements.txt Cargo.toml go.mod go.sum
    conftest.py workflows/x.py github/api.py agent.py agents.py
"""
SETUP = """
    conftest.py tests/conftest.py pytest.ini .coveragerc jest.config.js vitest.config.ts playwright.config.ts
    .mocharc.js
"""


@pytest.mark.parametrize(("kind", "path"), [(kind, path) for kind in PROTECTED for path in PROTECTED[kind].split()])
def test_a_file_that_acts_by_itself_is_protected(kind: ProtectedKind, path: str) -> None:
    assert protection_of(path) == kind


@pytest.mark.parametrize("path", FREE.split())
def test_ordinary_files_are_free(path: str) -> None:
    assert protection_of(path) is None


@pytest.mark.parametrize("path", SETUP.split())
def test_test_setup_is_not_protected_but_named(path: str) -> None:
    assert protection_of(path) is None and is_test_setup(path)


@pytest.mark.parametrize(
    "path",
    [
        *(".GitHub/Workflows/CI.yml", ".GITHUB/x", ".github./workflows/x", ".github /x", "GITHUB~1/WORKFL~1/x.yml"),
        *(".git\u200chub/workflows/x", ".g\u200dithub/x", "\ufeff.github/x", "．github/workflows/x", ".ｇithub/x"),
        *(
            ".github\\workflows\\x.yml",
            ".github::$INDEX_ALLOCATION/x",
            "MAKEFILE",
            "Makefile.",
            "Makefile ",
            "ＭakeFile",
        ),
        *(
            "Makefile ",
            "ＭakeFile",
            "Ma\u212aefile",
            "Dockerﬁle",
            "SETUP.PY",
            "setup.py:stream",
            ".ENVRC",
            ".envrc...",
            "PACKAG~1.JSO",
        ),
    ],
)
def test_no_other_spelling_of_a_protected_name_gets_by(path: str) -> None:
    """A file system that ignores case, ligatures, invisible signs or dots at the end opens the same file."""
    assert protection_of(path) is not None


@pytest.mark.parametrize(
    "path",
    (
        *(".AIDER_LOGS/x", "a/.aider_logs/x", ".aider_logs./x", ".aider_\u200blogs/x"),
        *("Aider-Orchestrator.TOML", "aider-orchestrator.toml.", "./aider-orchestrator.toml"),
    ),
)
def test_what_is_ours_is_known_in_any_spelling(path: str) -> None:
    assert is_own_file(path)


def test_the_agents_process_refuses_what_the_rules_call_ours() -> None:
    """It is a program of its own and cannot import the table."""
    spec = importlib.util.spec_from_file_location("aider_seat", CHILD / "aider_seat.py")
    assert spec is not None and spec.loader is not None
    seat = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(seat)
    assert all(is_own_file(f"{name}/x") for name in seat.RESERVED - {".git"}) and is_own_file(seat.SETTINGS)


def test_every_pattern_of_the_tables_is_one() -> None:
    for pattern in " ".join([*NAMES.values(), TEST_SETUP]).split():
        assert re.compile(pattern) and len(pattern) > 3


# --- manifests ------------------------------------------------------------------------------------------------------

PACKAGE = {"name": "x", "dependencies": {"a": "^1.0.0"}, "scripts": {"test": "jest"}}
PYPROJECT = """
[build-system]
requires = ["hatchling"]
[project]
name = "x"
dependencies = ["httpx"]
[tool.pytest.ini_options]
addopts = "-q"
"""
CARGO = '[package]\nname = "x"\n[dependencies]\nserde = "1"\n'
GO = "module example.com/x\n\ngo 1.22\n\nrequire (\n\tgithub.com/a/b v1.2.3\n)\n\n"
GO += "replace (\n\tgithub.com/c/d => ../d\n)\n"
PLAIN = [
    *(("requirements.txt", "httpx\n", f"httpx\n{line}\n") for line in ("rich", "rich==13.1", "rich[jupyter]>=13,<14")),
    ("requirements.txt", "httpx\n", 'httpx==1.0  # why\ntomli>=2 ; python_version < "3.11"\n'),
    ("requirements.txt", "", "rich ~= 13.0\n"),
    ("requirements/dev.txt", "", "pytest\n"),
    ("dev-requirements.in", "", "pytest\n"),
    ("pyproject.toml", PYPROJECT, PYPROJECT.replace('["httpx"]', '["httpx", "rich>=13"]')),
    ("pyproject.toml", PYPROJECT, PYPROJECT + '[project.optional-dependencies]\ndev = ["ruff"]\n'),
    ("pyproject.toml", PYPROJECT, PYPROJECT + '[dependency-groups]\ndev = ["ruff"]\n'),
    (
        "pyproject.toml",
        PYPROJECT,
        PYPROJECT + '[tool.poetry.dependencies]\nrich = {version = "^13"}\n',
    ),
    *(
        ("package.json", json.dumps(PACKAGE), json.dumps(PACKAGE | {"dependencies": {"a": "^1.0.0", name: version}}))
        for name, version in (("left-pad", "^1.3.0"), ("@types/node", "20.1.0"), ("b", ">=1 <2 || 3.x"), ("c", "*"))
    ),
    ("package.json", json.dumps(PACKAGE), json.dumps(PACKAGE | {"devDependencies": {"jest": "~29.0.0"}})),
    ("web/package.json", json.dumps(PACKAGE), json.dumps(PACKAGE | {"dependencies": {}})),
    ("Cargo.toml", CARGO, CARGO + 'rand = "0.8"\n'),
    ("Cargo.toml", CARGO, CARGO + 'tokio = { version = "1", features = ["full"] }\n'),
    ("Cargo.toml", CARGO, CARGO + '[dev-dependencies]\nproptest = "1"\n'),
    ("go.mod", GO, GO.replace("v1.2.3\n", "v1.2.4\n\tgithub.com/e/f v0.1.0 // indirect\n")),
    ("go.mod", GO, GO + "\nrequire golang.org/x/text v0.14.0\n"),
]
MORE = [
    *(
        ("requirements.txt", "httpx\n", f"httpx\n{line}\n")
        for line in (
            *(
                "--index-url https://evil.example/simple",
                "-i https://evil.example",
                "--extra-index-url=http://x",
                "-r other",
            ),
            *(
                "--extra-index-url=http://x",
                "git+https://evil.example/x",
                "x @ https://evil.example/x.whl",
                "./local",
                "../up",
                "/abs/x.whl",
            ),
            *("https://evil.example/x.tar.gz", "evil-1.0-py3-none-any.whl", "x==1 --global-option=build", "x \\"),
            *(
                "--trusted-host evil.example",
                "-c constraints.txt",
                "${HOME}/x",
                "x; --config-settings=a",
                "C:\\x",
                "--pre",
            ),
            *("x; --config-settings=a", "x --hash=sha256:00", "x @ file:///etc", "evil.zip"),
        )
    ),
    ("requirements.txt", "--require-hashes\nhttpx\n", "httpx\n"),
    ("requirements.txt", "httpx\n", "httpx\n\udcff\n"),
    ("pyproject.toml", PYPROJECT, PYPROJECT.replace("hatchling", "evil-backend")),
    ("pyproject.toml", PYPROJECT, PYPROJECT.replace('["httpx"]', '["httpx", "x @ https://evil.example/x.whl"]')),
    ("pyproject.toml", PYPROJECT, PYPROJECT + '[project.scripts]\nx = "evil:main"\n'),
    ("pyproject.toml", PYPROJECT, PYPROJECT + '[tool.ruff]\nignore = ["ALL"]\n'),
    ("pyproject.toml", PYPROJECT, PYPROJECT + '[tool.uv]\nindex-url = "https://evil.example"\n'),
    ("pyproject.toml", PYPROJECT, PYPROJECT + '[tool.poetry.dependencies]\nx = {git = "https://evil.example"}\n'),
    ("pyproject.toml", PYPROJECT, PYPROJECT + '[tool.poetry.dependencies]\nx = {version = "1", source = "evil"}\n'),
    ("pyproject.toml", PYPROJECT, PYPROJECT + "[broken\n"),
    ("pyproject.toml", PYPROJECT, PYPROJECT.replace('["httpx"]', "true")),
    ("pyproject.toml", "", '[project]\nname = "x"\n'),
    *(
        ("package.json", json.dumps(PACKAGE), json.dumps(PACKAGE | {"dependencies": {"a": "^1.0.0", name: version}}))
        for name, version in (
            *(
                ("x", "git+https://evil.example/x"),
                ("x", "evil/x"),
                ("x", "file:../x"),
                ("x", "npm:evil@1"),
                ("x", "link:x"),
            ),
            *(
                ("x", "https://evil.example/x.tgz"),
                ("x", "workspace:*"),
                ("../x", "1"),
                ("x", 1),
                ("x", {}),
                ("x", "^1#a"),
            ),
            *(
                ("x", "link:x"),
                ("x", "^1#a"),
                ("x", "github:evil/x"),
                ("x", "^1 @evil"),
                ("", "1"),
                ("x", "1.0.0\nevil:"),
                ("x", "evil"),
            ),
        )
    ),
    ("package.json", json.dumps(PACKAGE), json.dumps(PACKAGE | {"scripts": {"test": "jest", "postinstall": "evil"}})),
    ("package.json", json.dumps(PACKAGE), json.dumps(PACKAGE | {"scripts": {}})),
    *(
        ("package.json", json.dumps(PACKAGE), json.dumps(PACKAGE | {key: {"x": "1"}}))
        for key in (
            "overrides",
            "resolutions",
            "bin",
            "config",
            "workspaces",
            "exports",
            "eslintConfig",
            "babel",
            "pnpm",
        )
    ),
    (
        "package.json",
        json.dumps(PACKAGE),
        '{"name": "x", "scripts": {}, "scripts": {"test": "jest"}}',
    ),
    ("package.json", json.dumps(PACKAGE), "[]"),
    ("package.json", json.dumps(PACKAGE), "[" * 100_000),
    ("package.json", json.dumps(PACKAGE), "not json"),
    ("Cargo.toml", CARGO, CARGO + 'x = { git = "https://evil.example" }\n'),
    ("Cargo.toml", CARGO, CARGO + 'x = { path = "../x" }\n'),
    ("Cargo.toml", CARGO, CARGO + 'x = { version = "1", package = "evil" }\n'),
    ("Cargo.toml", CARGO, CARGO + 'x = { version = "1", registry = "evil" }\n'),
    ("Cargo.toml", CARGO, CARGO + '[build-dependencies]\ncc = "1"\n'),
    ("Cargo.toml", CARGO, CARGO.replace('name = "x"', 'name = "x"\nbuild = "evil.rs"')),
    ("Cargo.toml", CARGO, CARGO + '[patch.crates-io]\nserde = { git = "https://evil.example" }\n'),
    ("go.mod", GO, GO.replace("=> ../d", "=> github.com/evil/d v1.0.0")),
    ("go.mod", GO, GO + "\nreplace github.com/a/b => ../evil\n"),
    ("go.mod", GO, GO.replace("go 1.22", "go 1.22\ntoolchain evil")),
    ("go.mod", GO + "exclude (\n)\n", GO + "exclude (\n\tgithub.com/a/b v1.2.3\n)\n"),
]


@pytest.mark.parametrize(("path", "before", "after"), PLAIN)
def test_a_plain_dependency_is_taken_and_named(path: str, before: str, after: str) -> None:
    assert manifest_changes(path, before.encode(), after.encode()) == {DEPENDENCIES}
    edit = Permit(tracked={"a": 1}).judge_edit(path, before.encode(), after.encode())
    assert (edit.refused, edit.notable) == ("", DEPENDENCIES)


@pytest.mark.parametrize(("path", "before", "after"), MORE)
def test_anything_more_is_protected(path: str, before: str, after: str) -> None:
    texts = before.encode("utf-8", "surrogateescape"), after.encode("utf-8", "surrogateescape")
    with pytest.raises(NotPlainEdit):
        manifest_changes(path, *texts)
    assert Permit(tracked={"a": 1}).judge_edit(path, *texts).refused
    asked = Permit(frozenset({path}), tracked={"a": 1}).judge_edit(path, *texts)
    assert not asked.refused and asked.notable


@pytest.mark.parametrize("path", ("requirements.txt", "package.json", "pyproject.toml", "Cargo.toml", "go.mod"))
def test_only_the_layout_changed(path: str) -> None:
    texts = {"package.json": "{}", "requirements.txt": "a\nb\n", "go.mod": GO}
    before = texts.get(path, '[project]\nname = "x"\n')
    after = before.replace("a\nb\n", "b\n# sorted\na\n").replace("{}", "{ \n}").replace("name =", "name  =")
    assert manifest_changes(path, before.encode(), after.encode()) == set()


def test_the_test_runners_settings_in_a_manifest_are_named() -> None:
    after = PYPROJECT.replace('"-q"', '"-q --no-cov"')
    assert manifest_changes("pyproject.toml", PYPROJECT.encode(), after.encode()) == {NAMED_SETUP}
    package = json.dumps(PACKAGE | {"jest": {"bail": True}})
    assert manifest_changes("package.json", json.dumps(PACKAGE).encode(), package.encode()) == {NAMED_SETUP}


@pytest.mark.parametrize(
    ("before", "after", "ours"),
    [
        (PYPROJECT, PYPROJECT + '[tool.aider-orchestrator]\ntest-cmd = "evil"\n', True),
        (PYPROJECT + "[tool.aider-orchestrator]\nbudget = 1\n", PYPROJECT, True),
        (PYPROJECT, PYPROJECT + '[tool.aider-orchestrator.gates]\nx = "evil"\n', True),
        (PYPROJECT, PYPROJECT + "[tool]\naider-orchestrator = {}\n", True),
        (PYPROJECT, PYPROJECT + "[tool.ruff]\nline-length = 1\n", False),
        (
            "[tool.aider-orchestrator]\nbudget = 1\n",
            "[tool.aider-orchestrator]\nbudget = 1\n[project]\nname = 'x'\n",
            False,
        ),
        ("", "[tool.aider-orchestrator\n", True),
    ],
)
def test_our_own_table_is_never_an_agents(before: str, after: str, ours: bool) -> None:
    assert changes_own_settings("pyproject.toml", before.encode(), after.encode()) == ours
    asked = Permit(frozenset({"pyproject.toml"}), ("Change pyproject.toml",), {"pyproject.toml": 1})
    assert bool(asked.judge_edit("pyproject.toml", before.encode(), after.encode()).refused) == ours
    assert not changes_own_settings("sub/pyproject.toml", before.encode(), after.encode())


# --- when a person has asked ----------------------------------------------------------------------------------------

TRACKED = dict.fromkeys(
    (
        "Makefile",
        "build",
        "configure",
        ".github/workflows/ci.yml",
        "sub/setup.py",
        "a/tox.ini",
        "b/tox.ini",
        "package.json",
    )
)


@pytest.mark.parametrize(
    ("text", "path", "asked"),
    [
        ("Add a lint target to the Makefile", "Makefile", True),
        ("Add a lint target to the makefile.", "Makefile", True),
        ("Add a lint target to the Makefile", "makefile", False),  # a new one that make would prefer
        ("Add a lint target to the Makefile", "GNUmakefile", False),
        ("Add a lint target to the Makefile", "sub/Makefile", False),
        ("Write `./Makefile` anew", "Makefile", True),
        ("Change ci.yml so that it runs on macOS", ".github/workflows/ci.yml", True),
        ("Change (.github/workflows/ci.yml)", ".github/workflows/ci.yml", True),
        ("Create .github/workflows/release.yml", ".github/workflows/release.yml", True),
        ("Create .github/workflows/release.yml", ".github/workflows/other.yml", False),
        ("Create release.yml", ".github/workflows/release.yml", False),
        ("Change everything in .github/workflows", ".github/workflows/ci.yml", False),
        ("Change .github/workflows/*.yml", ".github/workflows/ci.yml", False),
        ("Add CI", ".github/workflows/ci.yml", False),
        ("Move setup.py to hatch", "sub/setup.py", True),
        ("Fix tox.ini", "a/tox.ini", False),  # which of the two?
        ("Fix a/tox.ini", "a/tox.ini", True),
        ("Fix xa/tox.ini", "a/tox.ini", False),
        ("See https://example.com/Makefile", "Makefile", False),
        ("Makefile.old is wrong", "Makefile", False),
        ("Build and configure it", "build", False),
        ("Build and configure it", "configure", False),
        ("Fix `configure`", "configure", True),
        ("Do not touch the Makefile", "Makefile", False),
        ("Don't change the Makefile, please", "Makefile", False),
        ("Refactor, without touching package.json or the Makefile", "Makefile", False),
        ("Never edit Makefile. Add docs", "Makefile", False),
        ("Leave the Makefile alone", "Makefile", False),
        ("Everything except Makefile", "Makefile", False),
        ("It does not work: fix the Makefile", "Makefile", True),
        ("Do not add tests, but fix the Makefile", "Makefile", True),
        ("Fix the Makefile so that it does not fail", "Makefile", True),
        ("Add a script to package.json", "package.json", True),
    ],
)
def test_what_a_text_asks_for(text: str, path: str, asked: bool) -> None:
    assert Permit(words=(text,), tracked=TRACKED).covers(path) == asked


def test_a_named_path_is_that_path_and_no_other() -> None:
    permit = Permit(frozenset({"Makefile", ".github/workflows/ci.yml"}), tracked=TRACKED)
    assert (
        permit.refusal_for("Makefile")
        == ""
        == permit.refusal_for(".github/workflows/ci.yml")
        == permit.refusal_for("a.py")
    )
    assert (
        permit.refusal_for("sub/Makefile") == "is a build script"
        and permit.refusal_for(".github/workflows/cd.yml") == "runs in CI"
    )


@pytest.mark.parametrize("path", (".aider_logs/.gitignore", "aider-orchestrator.toml"))
def test_own_files_are_refused_to_every_agent(path: str) -> None:
    permit = Permit(frozenset({path}), (f"Change {path}",), {path: 1})
    assert permit.refusal_for(path) and permit.judge_edit(path, b"", b"x").refused
    assert Permit().refusal_for(path)


def test_an_empty_repository_gets_what_builds_it_and_no_more() -> None:
    empty = Permit()
    for path in ("Makefile", "setup.py", "Dockerfile", "tsconfig.json", "vite.config.ts"):
        assert empty.refusal_for(path) == ""
    for path in (".github/workflows/ci.yml", ".husky/pre-commit", ".envrc", ".vscode/tasks.json", "CLAUDE.md"):
        assert empty.refusal_for(path)
    assert empty.judge_edit("package.json", b"", b'{"scripts": {"test": "jest"}}').refused == ""
    assert empty.judge_edit("pyproject.toml", b"", PYPROJECT.encode()).refused == ""
    assert empty.judge_edit("pyproject.toml", b"", b"[tool.aider-orchestrator]\ntest-cmd = 'evil'\n").refused
