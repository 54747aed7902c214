"""Which host a repository lives on, and how it is spoken to: told by the remote's address, or by what CI says."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import quote, urlsplit

from orchestra.errors import MissingKey, UsageError
from orchestra.settings import Settings

HostKind = Literal["github", "gitlab"]
ADDRESS = re.compile(r"[a-z+]+://(?:[^/@]*@)?(?P<host>[^/:@]+)(?::\d+)?/(?P<project>.+?)(?:\.git)?/?")
SHORT_ADDRESS = re.compile(r"(?:[^/@:]+@)?(?P<host>[^/:@]{2,}):(?!/)(?P<project>.+?)(?:\.git)?/?")


@dataclass(frozen=True)
class HostProfile:
    """What is known of a kind of host. CI systems of its kind set the variables themselves."""

    title: str
    request: str
    site: str
    api: str
    api_variable: str
    server_variable: str
    project_variable: str
    tokens: tuple[str, ...]


HOST_PROFILES: dict[HostKind, HostProfile] = {
    "github": HostProfile(
        *("GitHub", "pull request", "github.com", "https://api.github.com", "GITHUB_API_URL", "GITHUB_SERVER_URL"),
        "GITHUB_REPOSITORY",
        ("GITHUB_TOKEN", "GH_TOKEN"),
    ),
    "gitlab": HostProfile(
        *("GitLab", "merge request", "gitlab.com", "https://gitlab.com/api/v4", "CI_API_V4_URL", "CI_SERVER_URL"),
        "CI_PROJECT_PATH",
        ("GITLAB_TOKEN", "CI_JOB_TOKEN"),
    ),
}
# Whoever knows one of these may act for somebody.
SECRET = (
    "ORCHESTRA_NOTIFY",
    "ORCHESTRA_NOTIFY_SECRET",
    *(name for known in HOST_PROFILES.values() for name in known.tokens),
)


@dataclass(frozen=True)
class CodeHost:
    """A repository on its host, and the token for it with the name of its variable. `address` is the remote's that
    tells it; none where only CI tells it: then the remote may be anybody's."""

    kind: HostKind
    api: str
    project: str
    token: str = field(default="", repr=False)
    variable: str = ""
    address: str = ""

    @property
    def profile(self) -> HostProfile:
        return HOST_PROFILES[self.kind]

    @property
    def url(self) -> str:
        """Where its pull requests are asked for and opened."""
        if self.kind == "github":
            return f"{self.api}/repos/{quote(self.project)}/pulls"
        return f"{self.api}/projects/{quote(self.project, safe='')}/merge_requests"

    @property
    def headers(self) -> dict[str, str]:
        if self.kind == "github":
            accepted = {"accept": "application/vnd.github+json", "x-github-api-version": "2022-11-28"}
            return accepted | {"authorization": f"Bearer {self.token}"}
        return {"job-token" if self.variable == "CI_JOB_TOKEN" else "private-token": self.token}


def parse_address(url: str) -> tuple[str, str]:
    """Host and project of a remote's address; nothing of a path on this machine."""
    found = ADDRESS.fullmatch(url) or SHORT_ADDRESS.fullmatch(url)
    return (found["host"].lower(), found["project"]) if found else ("", "")


def detect_host(urls: Iterable[str], settings: Settings) -> CodeHost:
    """`urls` are the remote's, the best first. A token goes to nobody but its own kind of host, at an address that is
    well known or that the user, or CI, has said."""
    places = [(url, *found) for url in urls if (found := parse_address(url))[0]]
    told = ((url, site, project, kind) for url, site, project in places if (kind := kind_of_site(site, settings)))
    first = places[0][1:] if places else ("", "")
    address, site, project, kind = next(told, ("", *first, kind_by_variable(settings)))
    if kind is None:
        where = f"{site} is" if site else "the remote is a path, and"
        raise UsageError(
            f"--pr: {where} neither GitHub nor GitLab as far as can be told.",
            hint="Say which by the address of its API in GITHUB_API_URL or CI_API_V4_URL, or use --push.",
        )
    known = HOST_PROFILES[kind]
    project = project or settings.strongest_variable((known.project_variable,))[0]
    variable = next((name for name in known.tokens if settings.strongest_variable((name,))[0]), "")
    token, source = settings.strongest_variable((variable,)) if variable else ("", "")
    api = settings.base_url((known.api_variable,), source) or (known.api if site in ("", known.site) else "")
    if not project:
        raise UsageError(f"--pr: which {known.title} project this is cannot be told: set {known.project_variable}.")
    if not api:
        raise UsageError(f"--pr: set {known.api_variable} to the address of the API of {site}.")
    return CodeHost(kind, api, project, token, variable, address)


def kind_of_site(site: str, settings: Settings) -> HostKind | None:
    for kind, known in HOST_PROFILES.items():
        server = urlsplit(settings.strongest_variable((known.server_variable,))[0]).hostname
        if site and site in (known.site, server):
            return kind
    return None


def kind_by_variable(settings: Settings) -> HostKind | None:
    """The address of one API, and not of the other, is known."""
    told = [kind for kind, known in HOST_PROFILES.items() if settings.strongest_variable((known.api_variable,))[0]]
    return told[0] if len(told) == 1 else None


def check_token(host: CodeHost) -> None:
    if not host.token:
        names = " or ".join(host.profile.tokens)
        raise MissingKey(
            f"--pr needs a token of {host.profile.title}'s in {names}.", hint="Without one, --push pushes the branch."
        )
