"""Search the tracked code of a commit for a pattern, and what another commit has made of it."""

from collections.abc import Sequence

from orchestra.workspace.git import Git, split_nul


async def find_matching_file(git: Git, commit: str, pattern: str, pathspecs: Sequence[str]) -> str:
    """Return the first file of a commit with a line that matches an extended regular expression; empty if none has."""
    words = ("grep", "-l", "-I", "-E", "-z", "--full-name", "-e", pattern, commit, *pathspecs)
    code, output, error = await git.with_env(GIT_LITERAL_PATHSPECS="0").attempt(*words)
    if code > 1:
        raise git.as_error("grep", error)
    return next(iter(split_nul(output)), "").removeprefix(f"{commit}:")


async def find_matching_change(git: Git, base: str, commit: str, pattern: str, pathspecs: Sequence[str]) -> str:
    """Return the first file in which a line that matches was added or removed since the base; empty if none was."""
    words = ("diff", "--name-only", "--no-renames", "--no-textconv", "-z", "-G", pattern, base, commit, *pathspecs)
    return next(iter(await git.with_env(GIT_LITERAL_PATHSPECS="0").paths(*words)), "")
