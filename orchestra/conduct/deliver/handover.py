"""Hand the result over as a patch, a branch, a push or a pull request.

A step that is done is not repeated. For a step that fails, the commands to do it by hand are given; the result is kept
in any case.
"""

import os
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from orchestra import events
from orchestra.conduct.core.context import Run
from orchestra.conduct.core.locations import BRANCHES, LOGS
from orchestra.conduct.deliver.finish import run_exit_code
from orchestra.errors import GitFailed, HandoverFailed, MissingKey, UsageError
from orchestra.handover.code_hosts import CodeHost, detect_host
from orchestra.handover.pull_requests import OpenedRequest, RequestDraft, open_request, update_request
from orchestra.handover.refusals import FORK, explain_push_refusal, is_from_fork
from orchestra.process import replace_file
from orchestra.report.formats import REPORT_FORMATS
from orchestra.report.markdown import PULL_REQUEST_LIMIT, markdown_report
from orchestra.report.sanitize import safe_line
from orchestra.report.state import Report
from orchestra.settings import Settings
from orchestra.workspace.collect import binary_diff
from orchestra.workspace.merge import delete_branches
from orchestra.workspace.remote import Login, Remote, branch_refusal, find_remote, push_commit, put_on_branch
from orchestra.workspace.repository import Repository

TITLE = 100


async def check_handover(settings: Settings, repository: Repository, previous_report: Report | None) -> None:
    """Check, before anything is paid, what is known to fail at the end."""
    patch = Path(settings.patch)
    if settings.patch and (patch.is_dir() or not patch.absolute().parent.is_dir()):
        raise UsageError(f"--patch {patch}: no file can be written there.")
    # A slip must cost no file.
    if settings.patch and patch.exists() and patch.stat().st_size and not patch.read_bytes().startswith(b"diff --git "):
        raise UsageError(f"--patch {patch} exists and is not a patch.", hint="Choose another name.")
    if settings.branch:
        ours = branched_commit(previous_report) if previous_report else ""
        why = await branch_refusal(repository.git, settings.branch, repository.base, ours)
        if settings.branch.partition("/")[0] == BRANCHES:
            why = "such names are the orchestrator's own"
        if why:
            raise UsageError(f"--branch {settings.branch}: {why}.", hint="Choose another name.")
    if settings.push or settings.pr:
        remote = await require_remote(settings, repository)
        if settings.pr:
            host = detect_host(remote.urls, settings)
            if not host.token:
                what = f"a token of {host.profile.title}'s in {' or '.join(host.profile.tokens)}"
                raise MissingKey(f"--pr needs {what}.", hint="Without one, --push pushes the branch.")
            find_request_base(repository, os.environ)


async def require_remote(settings: Settings, repository: Repository) -> Remote:
    remote = await find_remote(repository.git, repository.branch)
    if remote is None:
        option = "--pr" if settings.pr else "--push"
        raise UsageError(f"{option}: there is no remote to push to.", hint="Add one: git remote add origin URL")
    return remote


def find_request_base(repository: Repository, environ: Mapping[str, str]) -> str:
    """Return the branch that a pull request goes into: where the run began. CI often checks out no branch."""
    names = ("GITHUB_HEAD_REF", "CI_MERGE_REQUEST_SOURCE_BRANCH_NAME", "CI_COMMIT_BRANCH")
    found = repository.branch or next((environ[name] for name in names if environ.get(name)), "")
    if not found:
        raise UsageError("--pr: HEAD is detached, so its target branch is unknown.", hint="Switch to one.")
    return found


async def hand_over_result(run: Run) -> None:
    delivery, settings = run.state.report.delivery, run.context.settings
    if delivery is None or not delivery.result:
        return
    if settings.patch:
        base = run.state.report.base
        with emit_if_not_handed_over(run, "patch", f"git diff --binary {base[:12]} {delivery.result[:12]}"):
            content = await binary_diff(run.context.git, base, delivery.result)
            replace_file(Path(settings.patch).absolute(), content)
            run.emit(events.PatchWritten(settings.patch, len(content)))
    if delivery.withheld:
        if settings.branch or settings.push or settings.pr:
            run.emit(events.Note(f"The result was not handed over: {delivery.reason}."))
        return
    if settings.branch:
        await name_result_branch(run, delivery.result)
    if (settings.push or settings.pr) and "branch" not in run.state.report.refused:
        await push_result(run, delivery.result)
    if settings.pr and not run.state.report.refused.keys() & {"branch", "push"}:
        await open_pull_request(run, delivery.result)


@contextmanager
def emit_if_not_handed_over(run: Run, what: str, by_hand: str) -> Iterator[None]:
    try:
        yield
    except (HandoverFailed, GitFailed, UsageError, OSError) as error:
        run.emit(events.NotHandedOver(what, str(error).rstrip("."), by_hand))


async def name_result_branch(run: Run, result: str) -> None:
    """Rename the result's side branch to the name that the user gave."""
    context, name, ours = run.context, run.context.settings.branch, branched_commit(run.state.report)
    with emit_if_not_handed_over(run, "branch", f"git branch NAME {result[:12]}"):
        why = await put_on_branch(context.git, name, result, context.repository.base, ours)
        if why:
            raise HandoverFailed(f"{name}: {why}")
        run.emit(events.ResultBranched(name, result))
        await delete_branches(context.git, [context.branch("result")])


def branched_commit(report: Report) -> str:
    """Return the commit of this run that the user's named branch holds."""
    branched = report.last_handover(events.ResultBranched)
    return branched.commit if branched else ""


async def push_result(run: Run, result: str) -> None:
    context = run.context
    branch, done = run.state.report.result_branch, run.state.report.last_handover(events.BranchPushed)
    pushed_before = done.commit if done and done.branch == branch else ""
    if pushed_before == result:
        return
    remote = await find_remote(context.git, context.repository.branch)
    name = remote.name if remote else "origin"
    with emit_if_not_handed_over(run, "push", f"git push {name} {shlex.quote(f'{branch}:{branch}')}"):
        remote = await require_remote(context.settings, context.repository)
        await note_skipped_hook(run)
        host = find_remote_host(remote, context.settings)
        # Only our own branch may be force-moved; the user's is fast-forwarded or left alone.
        replaces = "" if run.state.report.applied else pushed_before
        git, scrub, login = context.git, context.secrets.scrub, login_for_push(host, remote)
        refusal = await push_commit(git, remote, result, branch, replaces, login, context.folder, scrub)
        if refusal:
            raise HandoverFailed(explain_push_refusal(refusal, remote.name, branch, host) + fork_hint())
        run.emit(events.BranchPushed(remote.name, branch, result))


async def note_skipped_hook(run: Run) -> None:
    """Note a pre-push hook that is skipped: our git overrides core.hooksPath."""
    git = run.context.git
    *others, _ = (await git.text("config", "--get-all", "--type=path", "core.hooksPath")).splitlines()
    folder = others[-1] if others else f"{await git.text('rev-parse', '--git-common-dir')}/hooks"
    if os.access(run.context.repository.root / folder / "pre-push", os.X_OK):
        text = "Your pre-push hook did not run: it may be an agent's work, and would check another tree."
        run.emit(events.Note(text))


def find_remote_host(remote: Remote, settings: Settings) -> CodeHost | None:
    """Find the host of the remote. Pushing does not require a known host."""
    try:
        return detect_host(remote.urls, settings)
    except UsageError:
        return None


def login_for_push(host: CodeHost | None, remote: Remote) -> Login | None:
    """Return credentials for the push: a token only to its own host; a GitLab job's token is in the cloned address."""
    if host is None or host.address != remote.urls[0] or not host.token or host.variable == "CI_JOB_TOKEN":
        return None
    return Login("x-access-token" if host.kind == "github" else "oauth2", host.token)


def fork_hint() -> str:
    return f". {FORK}" if is_from_fork(os.environ) else ""


async def open_pull_request(run: Run, result: str) -> None:
    context, report = run.context, run.state.report
    done = report.last_handover(events.PrOpened)
    if done and done.commit == result:
        return
    base = find_request_base(context.repository, os.environ)
    side = report.delivery.side_branch if report.delivery else ""
    first = next((words for words in context.settings.change.splitlines() if words.strip()), "Change")
    # The text is the report as it will be at the end.
    text = markdown_report(replace(report, exit_code=run_exit_code(report, None)), PULL_REQUEST_LIMIT)
    scrub = context.secrets.scrub
    wanted = RequestDraft(side, base, safe_line(scrub(first), TITLE), scrub(text))
    remote = await find_remote(context.git, context.repository.branch)
    host = find_remote_host(remote, context.settings) if remote else None
    with emit_if_not_handed_over(run, "pr", manual_pr_command(run, wanted, host)):
        if host is None:
            raise HandoverFailed("the remote's host is unknown")
        try:  # only the text of a request that we opened is updated
            if done is None or done.existed or done.number is None:
                opened = await open_request(host, wanted)
            else:
                await update_request(host, done.number, wanted)
                opened = OpenedRequest(done.url, done.number)
        except HandoverFailed as failed:
            raise HandoverFailed(f"{failed}{fork_hint()}") from None
        about = {"host": host.kind, "head": wanted.head, "base": base, "commit": result}
        run.emit(events.PrOpened(url=opened.url, number=opened.number, existed=opened.existed, **about))


def manual_pr_command(run: Run, wanted: RequestDraft, host: CodeHost | None) -> str:
    report = f"{LOGS}/{REPORT_FORMATS['markdown'].file_name(run.context.stamp)}"
    head, base, words = (shlex.quote(each) for each in (wanted.head, wanted.base, wanted.title))
    if host and host.kind == "gitlab":
        options = f'--title {words} --description "$(cat {report})"'
        return f"glab mr create --source-branch {head} --target-branch {base} {options}"
    return f"gh pr create --head {head} --base {base} --title {words} --body-file {report}"
