"""Conflicts of eight languages and of files without a grammar: no proposal loses or doubles anything."""

import hashlib
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from orchestra.merging.candidates import Candidate, propose_merges
from orchestra.merging.trees import count_errors, parse_text
from tests.support.generated_merges import GeneratedMerge, draw_merge

COUNT = 500
SEEDS_OF_HASHES = ("0", "1", "2", "3", "4")
ROOT = Path(__file__).resolve().parents[1]


def assert_whole(merge: GeneratedMerge, candidate: Candidate) -> None:
    text = candidate.text
    for mark in merge.marks:
        expected = max(side.count(mark) for side in (merge.ours, merge.theirs))
        assert text.count(mark) == expected, f"{merge.kind}: {mark} by {candidate.name}"
    lines = Counter(text.split("\n"))
    for line, count in (Counter(merge.base.split("\n")) & Counter(merge.ours.split("\n"))).items():
        kept = min(count, merge.theirs.split("\n").count(line))
        assert lines[line] >= kept, f"{merge.kind}: lost {line!r} by {candidate.name}"
    assert text.startswith("\ufeff") == merge.base.startswith("\ufeff")
    assert text.endswith("\n") == merge.base.endswith("\n")
    assert ("\r\n" in merge.base) == ("\r\n" in text)
    assert "\r" not in merge.base or text.count("\r\n") == text.count("\n"), f"{merge.kind}: mixed line ends"
    source, base = parse_text(merge.path, text), parse_text(merge.path, merge.base)
    assert source is None or base is None or count_errors(source) <= count_errors(base)


def test_generated_conflicts_lose_nothing_and_nearly_all_have_a_proposal() -> None:
    solved: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    for seed in range(COUNT):
        merge = draw_merge(seed)
        candidates = propose_merges(merge.path, merge.base, merge.ours, merge.theirs)
        for candidate in candidates:
            assert_whole(merge, candidate)
        assert [candidate.trust for candidate in candidates] == sorted(candidate.trust for candidate in candidates)
        kinds[merge.kind] += 1
        solved[merge.kind] += bool(candidates)
    assert [kind for kind in kinds if not solved[kind]] == []
    assert solved.total() == COUNT, {kind: kinds[kind] - solved[kind] for kind in kinds if kinds[kind] > solved[kind]}


@pytest.mark.thorough
def test_proposals_do_not_depend_on_hash_seeds() -> None:
    program = "from tests.test_merging_generated import print_digest; print_digest()"
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
            stdout=subprocess.PIPE,
        )
        for seed in SEEDS_OF_HASHES
    ]
    assert len({run.communicate()[0] for run in runs}) == 1
    assert [run.returncode for run in runs] == [0] * len(runs)


def print_digest() -> None:
    digest = hashlib.sha256()
    for seed in range(COUNT):
        merge = draw_merge(seed)
        for candidate in propose_merges(merge.path, merge.base, merge.ours, merge.theirs):
            digest.update(repr((candidate.name, candidate.trust, candidate.text)).encode())
    print(digest.hexdigest())
