"""Divide files among agents: each file to exactly one, balanced by tokens, nobody left empty."""

import heapq
from collections.abc import Sequence

from orchestra.model import TargetFile


def partition(files: Sequence[TargetFile], parts: int) -> list[list[TargetFile]]:
    """At most `parts` lists, none empty: the largest file first, always to the lightest. Same input, same answer."""
    parts = min(parts, len(files))
    shares: list[list[TargetFile]] = [[] for _ in range(parts)]
    lightest = [(0, n) for n in range(parts)]
    for file in sorted(files, key=lambda file: (-file.tokens, file.path)):
        weight, n = heapq.heappop(lightest)
        shares[n].append(file)
        # An empty file still costs a turn: counting one token at least spreads them.
        heapq.heappush(lightest, (weight + max(file.tokens, 1), n))
    shares = [sorted(share, key=lambda file: file.path) for share in shares]
    return sorted(shares, key=lambda share: share[0].path)
