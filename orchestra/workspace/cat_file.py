"""Parse answers of `git cat-file --batch`, and describe a repository that has lost objects."""

from collections.abc import Iterator, Sequence

from orchestra.errors import RepositoryError
from orchestra.wording import join_some

LOST = "`git fsck` lists what is missing; `git fetch --refetch`, or a fresh clone, brings it back."


def lost_content_error(paths: Sequence[str]) -> RepositoryError:
    return RepositoryError(f"git has lost the content of {join_some(paths)}.", hint=LOST)


def split_contents(raw: bytes, paths: Sequence[str]) -> Iterator[bytes]:
    """Split an answer into contents, one for each path, in order."""
    at = 0
    for path in paths:
        end = raw.find(b"\n", at)
        words = raw[at:end].split() if end >= 0 else []
        if len(words) != 3 or not words[2].isdigit():  # "<object> missing"
            raise lost_content_error([path])
        start = end + 1
        at = start + int(words[2]) + 1
        yield raw[start : at - 1]
