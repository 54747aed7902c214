"""Find the host of a repository and its API, by the remote's address or by CI's variables."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import quote, urlsplit

from orchestra.errors import UsageError
from orchestra.settings import Settings

HostKind = Literal["github", "gitlab"]
ADDRESS = re.compile(r"[a-z+]+://(?:[^/@]*@)?(?P<host>[^/:@]+)(?::\d+)?/(?P<project>.+?)(?:\.git)?/?")
SHORT_ADDRESS = re.compile(r"(?:[^/@:]+@)?(?P<host>[^/:@]{2,}):(?!/)(?P<project>.+?)(?:\.git)?/?")


@dataclass(frozen=True)
class HostProfile:
    """A kind of host. CI systems of its kind set the variables themselves."""

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
# Variables that hold credentials.
TOKENS = [name for known in HOST_PROFILES.values() for name in known.tokens]
SECRET = ("ORCHESTRA_NOTIFY", "ORCHESTRA_NOTIFY_SECRET", *TOKENS)


@dataclass(frozen=True)
class CodeHost:
    """A repository on its host, with a token and the name of its variable.

    `address`: the remote's that identifies it; empty if only CI does: then the remote may be anyone's.
    """

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
        """The address where its pull requests are listed and opened."""
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
    """Return host and project of a remote's address; empty for a path on this machine."""
    found = ADDRESS.fullmatch(url) or SHORT_ADDRESS.fullmatch(url)
    return (found["host"].lower(), found["project"]) if found else ("", "")


def detect_host(urls: Iterable[str], settings: Settings) -> CodeHost:
    """Detect the host by the remote's addresses, the best first. A token is sent only to its own kind of host, at an
    address that is well known or given by the user or CI."""
    places = [(url, *found) for url in urls if (found := parse_address(url))[0]]
    candidates = ((url, site, project, kind) for url, site, project in places if (kind := kind_of_site(site, settings)))
    first = places[0][1:] if places else ("", "")
    apis = [kind for kind, known in HOST_PROFILES.items() if settings.strongest_variable((known.api_variable,))[0]]
    default = apis[0] if len(apis) == 1 else None  # the address of exactly one API is set
    address, site, project, kind = next(candidates, ("", *first, default))
    if kind is None:
        where = f"{site} is" if site else "the remote is a path, and"
        hint = "Give the address of its API in GITHUB_API_URL or CI_API_V4_URL, or use --push."
        raise UsageError(f"--pr: {where} neither GitHub nor GitLab.", hint=hint)
    known = HOST_PROFILES[kind]
    project = project or settings.strongest_variable((known.project_variable,))[0]
    variable = next((name for name in known.tokens if settings.strongest_variable((name,))[0]), "")
    token, source = settings.strongest_variable((variable,)) if variable else ("", "")
    api = settings.base_url((known.api_variable,), source) or (known.api if site in ("", known.site) else "")
    if not project:
        raise UsageError(f"--pr: which {known.title} project this is is unknown: set {known.project_variable}.")
    if not api:
        raise UsageError(f"--pr: set {known.api_variable} to the address of the API of {site}.")
    return CodeHost(kind, api, project, token, variable, address)


def kind_of_site(site: str, settings: Settings) -> HostKind | None:
    for kind, known in HOST_PROFILES.items():
        server = urlsplit(settings.strongest_variable((known.server_variable,))[0]).hostname
        if site and site in (known.site, server):
            return kind
    return None
