"""Which files act by themselves: an edit of one is a command that somebody's tool will run, so nobody gets it unasked.

One table of names. It is asked about every path that an agent has changed, and about every file that a folder, a glob
or a model wants to have changed. `manifests.py` looks into the few files of which a part is harmless.
"""

import re
import unicodedata
from enum import StrEnum
from functools import cache

LOGS, SETTINGS = ".aider_logs", "aider-orchestrator.toml"
TABLE = "tool.aider-orchestrator"  # in pyproject.toml


class ProtectedKind(StrEnum):
    """Why a file is protected, as it is said to people."""

    OWN = "belongs to this program"
    CI = "runs in CI"
    HOOK = "is a hook"
    BUILD = "is a build script"
    TOOL = "steers a tool"
    LOCK = "decides which packages are installed"
    DOTFILE = "is read by tools"
    AGENT = "instructs coding agents"


# A repository without files may get these unasked: something has to build it.
ALLOWED_WHEN_EMPTY = frozenset({ProtectedKind.BUILD, ProtectedKind.TOOL})

# Everything in a hidden folder, and every hidden file, is some tool's: CI, hooks, editors, package managers, agents.
# These are not, or only say what to leave alone.
HARMLESS_HIDDEN = frozenset(
    {
        *(".gitignore", ".gitkeep", ".keep", ".editorconfig", ".dockerignore", ".npmignore", ".prettierignore"),
        *(".eslintignore", ".stylelintignore", ".gcloudignore", ".helmignore", ".vercelignore", ".slugignore"),
        *(".mailmap", ".nojekyll", ".placeholder", ".env.example", ".env.sample", ".env.template", ".env.dist"),
        *(".git-blame-ignore-revs", ".all-contributorsrc", ".htmlhintrc", ".markdownlint.json", ".markdownlintignore"),
    }
)
HARMLESS_FOLDERS = frozenset({".well-known"})
NOTES = re.compile(r"(?:^|/)\.(?:changeset|changes|chglog|unreleased)/[^/]+\.(?:md|txt)")

# Patterns for the last one, two or three parts of a path, in lower case.
NAMES: dict[ProtectedKind, str] = {
    ProtectedKind.CI: r"""
        jenkinsfile.* .*\.jenkinsfile azure-pipelines.*\.ya?ml bitbucket-pipelines\.ya?ml concourse.*\.ya?ml
        (?:appveyor|buildspec|cloudbuild|codefresh|wercker|circle|codemagic|bitrise|render|codecov)\.ya?ml
        (?:vercel|railway|renovate)\.json (?:netlify|fly|wrangler)\.(?:toml|jsonc?) (?:serverless|skaffold)\.ya?ml
        dangerfile(?:\..*)? fastfile appfile codeowners
        """,
    ProtectedKind.HOOK: r"""
        lefthook(?:-local)?\.(?:ya?ml|toml|json) (?:lint-staged|commitlint)\.config\..* overcommit\.ya?ml
        captainhook\.json
        """,
    ProtectedKind.BUILD: r"""
        (?:gnu|bsd)?makefile(?:\..*)? .*\.(?:mk|mak|make) configure(?:\.(?:ac|in))? .*\.m4 autogen\.sh
        cmakelists\.txt .*\.cmake cmake(?:user)?presets\.json meson\.build meson(?:_options\.txt|\.options) .*\.ninja
        sconstruct sconscript wscript build(?:\.(?:bazel|rs|xml|sc|boot|ps1|sh|cmd|bat|cake|fsx|jl|mill|pl|ya?ml))?
        build\.zig(?:\.zon)? workspace(?:\.bazel)? module\.bazel .*\.bzl buck
        .*\.gradle(?:\.kts)? (?:gradle|mvn)w(?:\..*)? gradle(?:-wrapper)?\.properties pom\.xml .*\.sbt
        setup\.(?:py|cfg) hatch_build\.py build_?ext\.py conanfile\.(?:py|txt) (?:nox|tox|fab)file\.py tox\.ini
        (?:dodo|pavement)\.py pipfile environment(?:-\w+)?\.ya?ml
        rakefile(?:\..*)? .*\.rake gemfile .*\.gemspec .*\.podspec composer\.json package\.swift
        (?:cap|guard|brew|vagrant|berks|pod|cart|proc|tilt|just|earth|thor|puppet|cheese)file
        mix\.exs rebar\.config(?:\.script)? project\.clj (?:deps|bb|shadow-cljs)\.edn dune(?:-project|-workspace)?
        .*\.opam setup\.hs .*\.cabal stack\.ya?ml .*\.just taskfile\.(?:dist\.)?ya?ml magefile\.go .*\.nix
        (?:docker|container)file(?:\..*)? .*\.(?:docker|container)file (?:docker-)?compose.*\.ya?ml
        docker-bake\.(?:hcl|json) snapcraft\.ya?ml pkgbuild .*\.spec debian/rules
        .*\.(?:cs|vb|fs|vcx|sql|es|nj)proj .*\.(?:sln|slnx|props|targets) .*\.gypi?
        (?:grunt|gulp|jake|cake)file(?:\..*)? gatsby-(?:node|config)\..* ember-cli-build\..*
        """,
    # A bare name.config.ts may be a source file (Angular's app.config.ts), so the tools are listed.
    ProtectedKind.TOOL: r"""
        (?:webpack|babel|eslint|prettier|stylelint|vite|rollup|rolldown|esbuild|tsup|tsdown|unbuild)(?:[.-].+)?\.config\..*
        (?:next|nuxt|svelte|astro|remix|vue|quasar|tailwind|postcss|metro|react-native|craco|rspack|rsbuild)\.config\..*
        (?:snowpack|parcel|jsdoc|typedoc|release|semantic-release|ecosystem|drizzle|prisma|codegen|graphql)\.config\..*
        (?:orval|windi|uno|lingui|i18next|forge|electron(?:-builder|-vite)?|capacitor|expo|app\.expo|wxt)\.config\..*
        (?:sanity|knip|oxlint|biome|size-limit|docusaurus|vuepress|vitepress|eleventy|panda|farm|stencil)\.config\..*
        (?:web-dev-server|web-test-runner|modern|umi|kubb|openapi-ts|mikro-orm|swc|vinxi|moon)\.config\..*
        codegen\.(?:ts|js|ya?ml) knexfile\..* proxy\.conf\..* (?:babel|metro|eslint|prettier|stylelint)rc(?:\..*)?
        (?:ts|js)config.*\.json (?:turbo|nx|lerna|rush|project|workspace|angular|nodemon|global)\.json
        (?:deno|biome|dprint|bunfig|vcpkg|vcpkg-configuration)\.(?:jsonc?|toml) pnpm-workspace\.yaml pnpmfile\.[cm]?js
        nuget\.config web\.config mypy\.ini pylintrc(?:\.toml)? ruff\.toml pyrightconfig\.json
        (?:uv|poetry|pdm|hatch|pixi|rye|mise|devbox|flox)\.(?:toml|json) mise\..*\.toml devenv\.ya?ml
        pip\.(?:conf|ini) pyvenv\.cfg .*\.pth .*\.egg-link (?:site|user)customize\.py
        (?:clippy|rustfmt|deny|rust-toolchain|cross|trunk|dioxus|leptos|release-plz)\.toml rust-toolchain
        phpcs\.xml(?:\.dist)? phpstan.*\.neon(?:\.dist)? psalm\.xml(?:\.dist)? rector\.php credo\.exs
        mkdocs\.ya?ml book\.toml docs?(?:/source)?/conf\.py ansible\.cfg buf(?:\.gen|\.work)?\.ya?ml
        sonar-project\.properties
        """,
    ProtectedKind.LOCK: r"""
        (?:composer|flake|deno|bun|pixi|pdm|uv|poetry|cargo|gemfile|pipfile|podfile|mix|rebar|yarn)\.lock
        (?:package-lock|npm-shrinkwrap|packages\.lock)\.json bun\.lockb pnpm-lock\.yaml pylock.*\.toml
        (?:package|cartfile)\.resolved .*\.lockfile conda-lock\.ya?ml stack\.ya?ml\.lock cabal\.project(?:\..*)?
        go\.work(?:\.sum)?
        """,
    ProtectedKind.AGENT: r"""
        agents?(?:\.override|\.local)?\.md (?:claude|gemini|qwen|warp|crush|copilot)(?:\.local)?\.md
        copilot-instructions\.md skill\.md conventions\.md mcp\.json (?:opencode|crush|gemini-extension)\.jsonc?
        """,
}
ANY_NAME = " ".join(NAMES.values())
FOLDERS: dict[ProtectedKind, tuple[str, ...]] = {
    ProtectedKind.HOOK: ("git-hooks", "githooks", "git_hooks", "hooks.d"),
    ProtectedKind.CI: ("fastlane",),
    ProtectedKind.BUILD: ("buildsrc", "gradle/wrapper"),
}
# What only acts when tests run, as the tests do that agents write anyway: taken, named, and judged with the tests.
TEST_SETUP = r"""
    conftest\.py \.?pytest\.(?:ini|toml) \.coveragerc \.mocharc.* \.rspec \.nycrc.*
    (?:jest|vitest|karma|playwright|cypress|ava|nightwatch|wdio|mocha|jasmine|cucumber|nyc|c8)(?:[.-].+)?\.(?:conf|config)\..*
    (?:jest|vitest)[.-]?(?:setup|workspace|projects).* setup-?tests\..* jasmine\.json phpunit\.xml(?:\.dist)?
    (?:spec|rails|test)_helper\.(?:rb|exs) testng\.xml nextest\.toml codeception\.yml behat\.ya?ml
    """
SHORT_NAME = re.compile(r"[^.~/]{1,6}~\d(?:\.[^./]{0,3})?")  # Windows' second name for .github is GITHUB~1


@cache
def compile_names(patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{pattern})" for pattern in patterns.split()))


def normalise_path(path: str) -> str:
    """The path as the most forgiving file system reads it: on macOS or Windows `.GitHub./` is .github."""
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", path).casefold())
    text = "".join(sign for sign in text if unicodedata.category(sign) not in ("Cf", "Cc", "Cn"))
    parts = [part.partition(":")[0].rstrip(". ") or part for part in text.replace("\\", "/").split("/")]
    return "/".join(part for part in parts if part not in ("", "."))


def is_own_file(path: str) -> bool:
    """The logs, and the settings file that the next run obeys. Nobody gets these, asked or not."""
    plain = normalise_path(path)
    return LOGS in plain.split("/") or plain == SETTINGS


def protection_of(path: str) -> ProtectedKind | None:
    """Why a path is protected; None where it is not, or only its content can tell."""
    plain = normalise_path(path)
    *folders, name = plain.split("/")
    if is_own_file(path):
        return ProtectedKind.OWN
    if is_test_setup(path):
        return None
    if any(SHORT_NAME.fullmatch(part) for part in (*folders, name)):
        return ProtectedKind.DOTFILE
    return folder_protection(folders, plain) or name_protection(name, plain)


def folder_protection(folders: list[str], plain: str) -> ProtectedKind | None:
    around = f"/{'/'.join(folders)}/"
    for kind, names in FOLDERS.items():
        if any(f"/{name}/" in around for name in names):
            return kind
    hidden = [part for part in folders if part.startswith(".") and part not in HARMLESS_FOLDERS]
    return hidden_protection(hidden[0]) if hidden and not NOTES.search(plain) else None


def name_protection(name: str, plain: str) -> ProtectedKind | None:
    if name.startswith("."):
        return None if name in HARMLESS_HIDDEN else hidden_protection(name)
    ends = ["/".join(plain.split("/")[-count:]) for count in (1, 2, 3)]
    if any(compile_names(ANY_NAME).fullmatch(end) for end in ends):  # of most files this is all that is asked
        return next(
            kind for kind, patterns in NAMES.items() if any(compile_names(patterns).fullmatch(end) for end in ends)
        )
    return ProtectedKind.OWN if name == SETTINGS else None


CI_FOLDERS = r"\.(?:github|gitlab|circleci|buildkite|azure-?pipelines|azuredevops|tekton|woodpecker|drone|travis|cirrus"
CI_FOLDERS += r"|forgejo|gitea|semaphore|teamcity|jenkins|harness)(?:[.-].*)?"
HOOKS = r"\.(?:husky|lefthook|git-?hooks|pre-commit|lintstaged|lint-staged|commitlint|overcommit)(?:.*)"
AGENTS = (
    r"\.(?:claude|codex|cursor|gemini|aider|continue|windsurf|cline|roo|agents?|mcp|amazonq|kiro|qwen|opencode)(?:.*)"
)
HIDDEN: dict[ProtectedKind, str] = {
    ProtectedKind.CI: CI_FOLDERS,
    ProtectedKind.HOOK: HOOKS,
    ProtectedKind.AGENT: AGENTS,
}


def hidden_protection(name: str) -> ProtectedKind:
    return next((kind for kind, pattern in HIDDEN.items() if re.fullmatch(pattern, name)), ProtectedKind.DOTFILE)


def is_test_setup(path: str) -> bool:
    *folders, name = normalise_path(path).split("/")
    return bool(compile_names(TEST_SETUP).fullmatch(name)) and not any(part.startswith(".") for part in folders)
