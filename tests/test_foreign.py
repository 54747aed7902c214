"""Whose code a CI job has checked out, by the variables and event files of the systems."""

from typing import Any

import pytest

from orchestra.judge.foreign_head import COMMENT, FORK, TARGET, UNREADABLE, explain_foreign_head

GITHUB = {"GITHUB_ACTIONS": "true"}
GITLAB = {"GITLAB_CI": "true", "CI_MERGE_REQUEST_PROJECT_ID": "1"}


def pull(head: Any, base: str = "org/shop") -> dict[str, Any]:
    return {"pull_request": {"head": {"repo": head}, "base": {"repo": {"full_name": base}}}}


@pytest.mark.parametrize(
    ("env", "event", "reason"),
    [
        ({}, {}, ""),
        ({"CI": "true"}, {}, ""),
        (GITHUB | {"GITHUB_EVENT_NAME": "push"}, {}, ""),
        (GITHUB | {"GITHUB_EVENT_NAME": "workflow_dispatch"}, {}, ""),
        (GITHUB | {"GITHUB_EVENT_NAME": "issues"}, {"issue": {}}, ""),
        (GITHUB | {"GITHUB_EVENT_NAME": "pull_request"}, pull({"full_name": "Org/Shop"}), ""),
        (GITHUB | {"GITHUB_EVENT_NAME": "pull_request"}, pull({"full_name": "eve/shop"}), FORK),
        (GITHUB | {"GITHUB_EVENT_NAME": "pull_request"}, pull(None), FORK),
        (GITHUB | {"GITHUB_EVENT_NAME": "pull_request"}, {}, UNREADABLE),
        (GITHUB | {"GITHUB_EVENT_NAME": "pull_request"}, {"pull_request": []}, UNREADABLE),
        (GITHUB | {"GITHUB_EVENT_NAME": "pull_request_review"}, pull({"full_name": "eve/shop"}), FORK),
        (GITHUB | {"GITHUB_EVENT_NAME": "pull_request_target"}, pull({"full_name": "org/shop"}), TARGET),
        (GITHUB | {"GITHUB_EVENT_NAME": "issue_comment"}, {"issue": {"pull_request": {}}}, COMMENT),
        (GITHUB | {"GITHUB_EVENT_NAME": "issue_comment"}, {"issue": {"number": 3}}, ""),
        (
            GITHUB | {"GITHUB_EVENT_NAME": "workflow_run"},
            {"workflow_run": {"head_repository": {"full_name": "eve/shop"}}, "repository": {"full_name": "org/shop"}},
            FORK,
        ),
        (
            GITHUB | {"GITHUB_EVENT_NAME": "workflow_run"},
            {"workflow_run": {"head_repository": {"full_name": "org/shop"}}, "repository": {"full_name": "org/shop"}},
            "",
        ),
        (GITHUB | {"GITHUB_EVENT_NAME": "workflow_run"}, {}, FORK),
        (GITLAB, {}, ""),
        (GITLAB | {"CI_MERGE_REQUEST_SOURCE_PROJECT_ID": "1"}, {}, ""),
        (GITLAB | {"CI_MERGE_REQUEST_SOURCE_PROJECT_ID": "2"}, {}, FORK),
        ({"CIRCLECI": "true", "CIRCLE_PR_REPONAME": "shop"}, {}, FORK),
        ({"CIRCLECI": "true"}, {}, ""),
        ({"BUILDKITE_PULL_REQUEST": "7", "BUILDKITE_PULL_REQUEST_REPO": "a", "BUILDKITE_REPO": "b"}, {}, FORK),
        ({"BUILDKITE_PULL_REQUEST": "false", "BUILDKITE_PULL_REQUEST_REPO": "", "BUILDKITE_REPO": "b"}, {}, ""),
        ({"SYSTEM_PULLREQUEST_ISFORK": "True"}, {}, FORK),
        ({"TRAVIS_PULL_REQUEST_SLUG": "eve/shop", "TRAVIS_REPO_SLUG": "org/shop"}, {}, FORK),
        ({"CHANGE_FORK": "eve"}, {}, FORK),
        ({"APPVEYOR_PULL_REQUEST_HEAD_REPO_NAME": "eve/shop", "APPVEYOR_REPO_NAME": "org/shop"}, {}, FORK),
    ],
)
def test_head_of_a_fork_is_foreign(env: dict[str, str], event: dict[str, Any], reason: str) -> None:
    assert explain_foreign_head(env, event) == reason
