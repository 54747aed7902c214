"""What `git cat-file --batch` answers, and the sentence for a repository that has lost some of its objects."""

from collections.abc import Iterator, Sequence

from orchestra.errors import RepositoryError

LOST = "`git fsck` lists what is missing; `git fetch --refetch`, or a fresh clone, brings it back."
MOST = 3


def lost_content_error(paths: Sequence[str]) -> RepositoryError:
    more = f" and {len(paths) - MOST} more" if len(paths) > MOST else ""
    return RepositoryError(f"git has lost the content of {', '.join(paths[:MOST])}{more}.", hint=LOST)


def split_contents(raw: bytes, paths: Sequence[str]) -> Iterator[bytes]:
    """The contents in an answer, one for each path that was asked about, in order."""
    at = 0
    for path in paths:
        end = raw.find(b"\n", at)
        words = raw[at:end].split() if end >= 0 else []
        if len(words) != 3 or not words[2].isdigit():  # "<object> missing"
            raise lost_content_error([path])
        start = end + 1
        at = start + int(words[2]) + 1
        yield raw[start : at - 1]
