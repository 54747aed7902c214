"""Recognise files that act by themselves: a tool will run what is in them, so an edit must be requested.

One table of names. It is applied to every path that an agent has changed, and to every file that a folder, a glob or a
model selects. `manifests.py` examines the few files that are harmless in part.
"""

import re
import unicodedata
from enum import StrEnum
from functools import cache

LOGS, SETTINGS = ".aider_logs", "aider-orchestrator.toml"
TABLE = "tool.aider-orchestrator"  # in pyproject.toml


class ProtectedKind(StrEnum):
    """Why a file is protected, in words for people."""

    OWN = "belongs to this program"
    CI = "runs in CI"
    HOOK = "is a hook"
    BUILD = "is a build script"
    TOOL = "steers a tool"
    LOCK = "decides which packages are installed"
    DOTFILE = "is read by tools"
    AGENT = "instructs coding agents"


# An empty repository may get these without a request: something has to build it.
ALLOWED_WHEN_EMPTY = frozenset({ProtectedKind.BUILD, ProtectedKind.TOOL})

# Every hidden file and folder belongs to some tool: CI, hooks, editors, package managers, agents. These do not, or only
# say what to ignore.
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
# Files that act only when tests run, like the tests that agents write anyway: accepted, named, and judged with the
# tests.
TEST_SETUP = r"""
    conftest\.py \.?pytest\.(?:ini|toml) \.coveragerc \.mocharc.* \.rspec \.nycrc.*
    (?:jest|vitest|karma|playwright|cypress|ava|nightwatch|wdio|mocha|jasmine|cucumber|nyc|c8)(?:[.-].+)?\.(?:conf|config)\..*
    (?:jest|vitest)[.-]?(?:setup|workspace|projects).* setup-?tests\..* jasmine\.json phpunit\.xml(?:\.dist)?
    (?:spec|rails|test)_helper\.(?:rb|exs) testng\.xml nextest\.toml codeception\.yml behat\.ya?ml
    """
SHORT_NAME = re.compile(r"[^.~/]{1,6}~\d(?:\.[^./]{0,3})?")  # Windows' short name of .github is GITHUB~1


@cache
def compile_names(patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{pattern})" for pattern in patterns.split()))


def normalise_path(path: str) -> str:
    """Return the path as the most tolerant file system reads it: on macOS or Windows `.GitHub./` is .github."""
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", path).casefold())
    text = "".join(sign for sign in text if unicodedata.category(sign) not in ("Cf", "Cc", "Cn"))
    parts = [part.partition(":")[0].rstrip(". ") or part for part in text.replace("\\", "/").split("/")]
    return "/".join(part for part in parts if part not in ("", "."))


def is_own_file(path: str) -> bool:
    """Whether it is a log of ours, or the settings file of the next run. No agent may change these, even on request."""
    plain = normalise_path(path)
    return LOGS in plain.split("/") or plain == SETTINGS


def protection_of(path: str) -> ProtectedKind | None:
    """Return why a path is protected; None if it is not, or if only its content can tell."""
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
    if any(compile_names(ANY_NAME).fullmatch(end) for end in ends):  # for most files this is the only check
        return next(
            kind for kind, patterns in NAMES.items() if any(compile_names(patterns).fullmatch(end) for end in ends)
        )
    return ProtectedKind.OWN if name == SETTINGS else None


HIDDEN: dict[ProtectedKind, str] = {
    ProtectedKind.CI: r"(?:github|gitlab|circleci|buildkite|azure-?pipelines|azuredevops|tekton|woodpecker|drone|travis"
    r"|cirrus|forgejo|gitea|semaphore|teamcity|jenkins|harness)(?:[.-].*)?",
    ProtectedKind.HOOK: r"(?:husky|lefthook|git-?hooks|pre-commit|lintstaged|lint-staged|commitlint|overcommit).*",
    ProtectedKind.AGENT: r"(?:claude|codex|cursor|gemini|aider|continue|windsurf|cline|roo|agents?|mcp|amazonq|kiro"
    r"|qwen|opencode).*",
}


def hidden_protection(name: str) -> ProtectedKind:
    plain = name.removeprefix(".")
    return next((kind for kind, pattern in HIDDEN.items() if re.fullmatch(pattern, plain)), ProtectedKind.DOTFILE)


def is_test_setup(path: str) -> bool:
    *folders, name = normalise_path(path).split("/")
    return bool(compile_names(TEST_SETUP).fullmatch(name)) and not any(part.startswith(".") for part in folders)
