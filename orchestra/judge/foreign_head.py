"""Whether what is checked out comes from somebody who may not commit here: a fork's head in a CI job. Pure."""

from collections.abc import Callable, Mapping
from typing import Any

Env = Mapping[str, str]
Event = Mapping[str, Any]  # GitHub's event file; empty where there is none, or where it cannot be read
FORK = "the head of this pull request is a fork's"
TARGET = "pull_request_target runs beside the secrets of the base, and may have checked out any head"
COMMENT = "a comment on a pull request may have checked out its head"
UNREADABLE = "GitHub's event file cannot be read, so that the head of this pull request may be a fork's"


def explain_foreign_head(env: Env, event: Event) -> str:
    """Why the checkout may be a stranger's; empty where it is the project's own, or no CI job."""
    return next((reason for look in SYSTEMS if (reason := look(env, event))), "")


def check_github(env: Env, event: Event) -> str:
    if env.get("GITHUB_ACTIONS") != "true":
        return ""
    name = env.get("GITHUB_EVENT_NAME", "")
    if name == "pull_request_target":
        return TARGET
    if name.startswith("pull_request"):
        request = get_mapping(event, "pull_request")
        if not request:
            return UNREADABLE
        return (
            ""
            if is_same_repository(
                repository_name(get_mapping(request, "head")), repository_name(get_mapping(request, "base"))
            )
            else FORK
        )
    if name == "workflow_run":
        run = get_mapping(event, "workflow_run")
        own = full_name(get_mapping(event, "repository"))
        return "" if is_same_repository(full_name(get_mapping(run, "head_repository")), own) else FORK
    return COMMENT if name == "issue_comment" and (not event or "pull_request" in get_mapping(event, "issue")) else ""


def check_gitlab(env: Env, event: Event) -> str:
    if env.get("GITLAB_CI") != "true":
        return ""
    pairs = (
        ("CI_MERGE_REQUEST_SOURCE_PROJECT_ID", "CI_MERGE_REQUEST_PROJECT_ID"),
        ("CI_EXTERNAL_PULL_REQUEST_SOURCE_REPOSITORY", "CI_EXTERNAL_PULL_REQUEST_TARGET_REPOSITORY"),
    )
    return FORK if any(is_other_head(env, *pair) for pair in pairs) else ""


def check_circleci(env: Env, event: Event) -> str:
    return FORK if env.get("CIRCLECI") and env.get("CIRCLE_PR_REPONAME") else ""


def check_buildkite(env: Env, event: Event) -> str:
    asked = env.get("BUILDKITE_PULL_REQUEST", "false") != "false"
    return FORK if asked and is_other_head(env, "BUILDKITE_PULL_REQUEST_REPO", "BUILDKITE_REPO") else ""


def check_azure(env: Env, event: Event) -> str:
    return FORK if env.get("SYSTEM_PULLREQUEST_ISFORK", "").lower() == "true" else ""


def check_travis(env: Env, event: Event) -> str:
    return FORK if is_other_head(env, "TRAVIS_PULL_REQUEST_SLUG", "TRAVIS_REPO_SLUG") else ""


def check_jenkins(env: Env, event: Event) -> str:
    return FORK if env.get("CHANGE_FORK") else ""


def check_appveyor(env: Env, event: Event) -> str:
    return FORK if is_other_head(env, "APPVEYOR_PULL_REQUEST_HEAD_REPO_NAME", "APPVEYOR_REPO_NAME") else ""


SYSTEMS: tuple[Callable[[Env, Event], str], ...] = (
    *(
        check_github,
        check_gitlab,
        check_circleci,
        check_buildkite,
        check_azure,
        check_travis,
        check_jenkins,
        check_appveyor,
    ),
)


def is_other_head(env: Env, head: str, base: str) -> bool:
    """Whether the job is about a head, and that is not the base's own."""
    return bool(env.get(head)) and env[head] != env.get(base)


def get_mapping(record: Any, name: str) -> Mapping[str, Any]:
    found = record.get(name) if isinstance(record, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def repository_name(side: Mapping[str, Any]) -> str:
    return full_name(get_mapping(side, "repo"))


def full_name(record: Mapping[str, Any]) -> str:
    """Empty where the fork is deleted."""
    name = record.get("full_name")
    return name.lower() if isinstance(name, str) else ""


def is_same_repository(head: str, base: str) -> bool:
    return bool(head) and head == base
