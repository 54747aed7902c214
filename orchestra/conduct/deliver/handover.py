"""Hand the result over: a patch, a branch of its own, a push, a pull request. What has been done is not done again, and
what cannot be done is told with the commands that do it by hand; the result is kept in any case."""

import os
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from orchestra import events
from orchestra.conduct.core.context import Context, Run
from orchestra.conduct.core.where import BRANCHES
from orchestra.conduct.deliver.finish import code_of
from orchestra.errors import GitFailed, HandOverFailed, UsageError
from orchestra.handover.hosts import Host, check_token, host_of
from orchestra.handover.requests import Opened, Wanted, open_request, update
from orchestra.handover.why import FORK, from_fork, push_refused
from orchestra.report.formats import FORMS
from orchestra.report.markdown import PULL_REQUEST, markdown
from orchestra.report.safe import line
from orchestra.report.state import Report
from orchestra.settings import Settings
from orchestra.workspace.collect import diff
from orchestra.workspace.git import Git
from orchestra.workspace.merge import forget
from orchestra.workspace.remote import Login, Remote, find_remote, push, put_on_branch, why_not_branch
from orchestra.workspace.repository import Repository

TITLE = 100


async def check_hand_over(settings: Settings, repository: Repository, before: Report | None) -> None:
    """Before anything is paid: what can be known to fail at the end."""
    if settings.patch:
        check_patch(Path(settings.patch))
    if settings.branch:
        ours = branched_commit(before) if before else ""
        why = await why_not_branch(repository.git, settings.branch, repository.base, ours)
        if settings.branch.partition("/")[0] == BRANCHES:
            why = "such names are the orchestrator's own"
        if why:
            raise UsageError(f"--branch {settings.branch}: {why}.", hint="Choose another name.")
    if settings.push or settings.pr:
        remote = await needed_remote(settings, repository)
        if settings.pr:
            check_token(host_of(remote.urls, settings))
            target(repository, os.environ)


def check_patch(path: Path) -> None:
    """A slip must not cost a file: only another patch is written over."""
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise UsageError(f"--patch {path}: there is no such place for a file.")
    if path.exists() and path.stat().st_size and not path.read_bytes().startswith(b"diff --git "):
        raise UsageError(f"--patch {path} is there already, and is no patch.", hint="Choose another name.")


async def needed_remote(settings: Settings, repository: Repository) -> Remote:
    remote = await find_remote(repository.git, repository.branch)
    if remote is None:
        option = "--pr" if settings.pr else "--push"
        raise UsageError(f"{option}: there is no remote to push to.", hint="Add one: git remote add origin URL")
    return remote


def target(repository: Repository, environ: Mapping[str, str]) -> str:
    """The branch that a pull request is to go into: where the run began. CI often checks out no branch."""
    names = ("GITHUB_HEAD_REF", "CI_MERGE_REQUEST_SOURCE_BRANCH_NAME", "CI_COMMIT_BRANCH")
    found = repository.branch or next((environ[name] for name in names if environ.get(name)), "")
    if not found:
        raise UsageError(
            "--pr: HEAD is detached, so that it is not known which branch to open it for.", hint="Switch to one."
        )
    return found


async def hand_over(run: Run) -> None:
    delivery, settings = run.state.report.delivery, run.context.settings
    if delivery is None or not delivery.result:
        return
    if settings.patch:
        with told(run, "patch", f"git diff --binary {run.state.report.base[:12]} {delivery.result[:12]}"):
            await write_patch(run, delivery.result)
    if delivery.withheld:
        if settings.branch or settings.push or settings.pr:
            run.emit(events.Note(f"The result was not handed over: {delivery.reason}."))
        return
    if settings.branch:
        await take_branch(run, delivery.result)
    if (settings.push or settings.pr) and "branch" not in run.state.report.refused:
        await push_it(run, delivery.result)
    if settings.pr and not run.state.report.refused.keys() & {"branch", "push"}:
        await open_it(run, delivery.result)


@contextmanager
def told(run: Run, what: str, by_hand: str) -> Iterator[None]:
    try:
        yield
    except (HandOverFailed, GitFailed, UsageError, OSError) as error:
        run.emit(events.NotHandedOver(what, str(error).rstrip("."), by_hand))


async def write_patch(run: Run, result: str) -> None:
    context = run.context
    path = Path(context.settings.patch).absolute()
    content = await diff(context.repository.git, run.state.report.base, result)
    part = path.with_name(f"{path.name}.part")
    part.write_bytes(content)
    part.replace(path)
    run.emit(events.PatchWritten(context.settings.patch, len(content)))


async def take_branch(run: Run, result: str) -> None:
    """From its side branch onto the one that the user has named."""
    context = run.context
    name, side = context.settings.branch, context.branch("result")
    ours = branched_commit(run.state.report)
    with told(run, "branch", f"git branch NAME {result[:12]}"):
        why = await put_on_branch(context.repository.git, name, result, context.repository.base, ours)
        if why:
            raise HandOverFailed(f"{name}: {why}")
        run.emit(events.Branched(name, result))
        await forget(context.repository.git, [side])


def branched_commit(report: Report) -> str:
    """What the user's named branch has of this run."""
    branched = report.last(events.Branched)
    return branched.commit if branched else ""


# --- push -----------------------------------------------------------------------------------------------------------


async def push_it(run: Run, result: str) -> None:
    context = run.context
    branch, done = run.state.report.result_branch, run.state.report.last(events.Pushed)
    before = done.commit if done and done.branch == branch else ""
    if before == result:
        return
    remote = await find_remote(context.repository.git, context.repository.branch)
    name = remote.name if remote else "origin"
    with told(run, "push", f"git push {name} {shlex.quote(f'{branch}:{branch}')}"):
        remote = await needed_remote(context.settings, context.repository)
        await tell_of_hooks(run)
        host = host_or_none(remote, context.settings)
        # Only a branch of ours may be moved to where it was not: the user's goes forward, or stays.
        replaces = "" if run.state.report.applied else before
        git, scrub = context.repository.git, context.secrets.scrub
        said = await push(git, remote, result, branch, replaces, login(host, remote), context.folder, scrub)
        if said:
            raise HandOverFailed(push_refused(said, remote.name, branch, host) + from_a_fork())
        run.emit(events.Pushed(remote.name, branch, result))


async def tell_of_hooks(run: Run) -> None:
    """Of the one that a push would run. Our own git always has the last word on where hooks are."""
    git: Git = run.context.repository.git
    *others, _ = (await git.text("config", "--get-all", "--type=path", "core.hooksPath")).splitlines()
    folder = others[-1] if others else f"{await git.text('rev-parse', '--git-common-dir')}/hooks"
    if os.access(run.context.repository.root / folder / "pre-push", os.X_OK):
        run.emit(events.Note("Your pre-push hook was not run: it may be an agent's work, and judges another tree."))


def host_or_none(remote: Remote, settings: Settings) -> Host | None:
    """For a push no host need be known."""
    try:
        return host_of(remote.urls, settings)
    except UsageError:
        return None


def login(host: Host | None, remote: Remote) -> Login | None:
    """A token goes to its own host only. A job's own one stands in the address that GitLab's runner has cloned from."""
    if host is None or host.address != remote.urls[0] or not host.token or host.variable == "CI_JOB_TOKEN":
        return None
    return Login("x-access-token" if host.kind == "github" else "oauth2", host.token)


def from_a_fork() -> str:
    return f". {FORK}" if from_fork(os.environ) else ""


# --- pull request ---------------------------------------------------------------------------------------------------


async def open_it(run: Run, result: str) -> None:
    context = run.context
    done = run.state.report.last(events.PrOpened)
    if done and done.commit == result:
        return
    base = target(context.repository, os.environ)
    wanted = Wanted(side_branch(run.state.report), base, title(run.context), body(run))
    remote = await find_remote(context.repository.git, context.repository.branch)
    host = host_or_none(remote, context.settings) if remote else None
    with told(run, "pr", by_hand(run, wanted, host)):
        if host is None:
            raise HandOverFailed("the remote's host is not known any more")
        try:
            opened = await brought_up_to_date(host, wanted, done)
        except HandOverFailed as failed:
            raise HandOverFailed(f"{failed}{from_a_fork()}") from None
        about = {"host": host.kind, "head": wanted.head, "base": base, "commit": result}
        run.emit(events.PrOpened(url=opened.url, number=opened.number, existed=opened.existed, **about))


async def brought_up_to_date(host: Host, wanted: Wanted, done: events.PrOpened | None) -> Opened:
    """One that we have opened before gets our new words; one of somebody else's keeps its own."""
    if done is None or done.existed or done.number is None:
        return await open_request(host, wanted)
    await update(host, done.number, wanted)
    return Opened(done.url, done.number)


def side_branch(report: Report) -> str:
    return report.delivery.side_branch if report.delivery else ""


def title(context: Context) -> str:
    first = next((words for words in context.settings.change.splitlines() if words.strip()), "Change")
    return line(context.secrets.scrub(first), TITLE)


def body(run: Run) -> str:
    """The report as it will be when nothing more happens."""
    report = replace(run.state.report, exit_code=code_of(run.state.report, None))
    return run.context.secrets.scrub(markdown(report, PULL_REQUEST))


def by_hand(run: Run, wanted: Wanted, host: Host | None) -> str:
    report = f".aider_logs/{FORMS['markdown'].file_name(run.context.stamp)}"
    head, base, words = (shlex.quote(each) for each in (wanted.head, wanted.base, wanted.title))
    if host and host.kind == "gitlab":
        said = f'--title {words} --description "$(cat {report})"'
        return f"glab mr create --source-branch {head} --target-branch {base} {said}"
    return f"gh pr create --head {head} --base {base} --title {words} --body-file {report}"
