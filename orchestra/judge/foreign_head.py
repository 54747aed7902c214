"""Decide whether the checkout may be a stranger's: the head of a fork in a CI job. Pure."""

from collections.abc import Callable, Mapping
from typing import Any

Env = Mapping[str, str]
Event = Mapping[str, Any]  # GitHub's event file; empty if there is none, or it is unreadable
FORK = "the head of this pull request is a fork's"
TARGET = "pull_request_target runs beside the secrets of the base, and may have checked out any head"
COMMENT = "a comment on a pull request may have checked out its head"
UNREADABLE = "GitHub's event file is unreadable, so the head of this pull request may be a fork's"


def explain_foreign_head(env: Env, event: Event) -> str:
    """Explain why the checkout may be a stranger's; empty if it is the project's own, or this is no CI job."""
    if env.get("GITHUB_ACTIONS") == "true" and (reason := explain_github_head(env.get("GITHUB_EVENT_NAME", ""), event)):
        return reason
    return FORK if any(is_fork(env) for is_fork in FORK_CHECKS) else ""


def explain_github_head(name: str, event: Event) -> str:
    """Explain why the checkout may be a stranger's, from the name of the event that started a job on GitHub."""
    if name == "pull_request_target":
        return TARGET
    if name.startswith("pull_request"):
        request = get_mapping(event, "pull_request")
        head, base = (full_name(get_mapping(get_mapping(request, side), "repo")) for side in ("head", "base"))
        return UNREADABLE if not request else "" if head and head == base else FORK
    if name == "workflow_run":
        head = full_name(get_mapping(get_mapping(event, "workflow_run"), "head_repository"))
        return "" if head and head == full_name(get_mapping(event, "repository")) else FORK
    return COMMENT if name == "issue_comment" and (not event or "pull_request" in get_mapping(event, "issue")) else ""


def is_gitlab_fork(env: Env) -> bool:
    requests = ("CI_MERGE_REQUEST_SOURCE_PROJECT_ID", "CI_MERGE_REQUEST_PROJECT_ID")
    external = (f"CI_EXTERNAL_PULL_REQUEST_{side}_REPOSITORY" for side in ("SOURCE", "TARGET"))
    return env.get("GITLAB_CI") == "true" and (is_other_head(env, *requests) or is_other_head(env, *external))


FORK_CHECKS: tuple[Callable[[Env], object], ...] = (
    is_gitlab_fork,
    lambda env: env.get("CIRCLECI") and env.get("CIRCLE_PR_REPONAME"),
    lambda env: (
        env.get("BUILDKITE_PULL_REQUEST", "false") != "false"
        and is_other_head(env, "BUILDKITE_PULL_REQUEST_REPO", "BUILDKITE_REPO")
    ),
    lambda env: env.get("SYSTEM_PULLREQUEST_ISFORK", "").lower() == "true",  # Azure
    lambda env: is_other_head(env, "TRAVIS_PULL_REQUEST_SLUG", "TRAVIS_REPO_SLUG"),
    lambda env: env.get("CHANGE_FORK"),  # Jenkins
    lambda env: is_other_head(env, "APPVEYOR_PULL_REQUEST_HEAD_REPO_NAME", "APPVEYOR_REPO_NAME"),
)


def is_other_head(env: Env, head: str, base: str) -> bool:
    """Whether the job is about a head that is not the base's own."""
    return bool(env.get(head)) and env[head] != env.get(base)


def get_mapping(record: Any, name: str) -> Mapping[str, Any]:
    found = record.get(name) if isinstance(record, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def full_name(record: Mapping[str, Any]) -> str:
    """Return the repository's full name; empty if the fork is deleted."""
    name = record.get("full_name")
    return name.lower() if isinstance(name, str) else ""
