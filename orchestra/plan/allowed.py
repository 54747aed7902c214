"""What of a plan agents may be given: only a person's yes is a reason to change a file that acts by itself."""

import dataclasses
from collections.abc import Iterable

from orchestra.judge.manifests import manifest_reader
from orchestra.judge.permit import Permit
from orchestra.judge.protected import is_own_file, protection_of
from orchestra.plan.draft import Draft, PlanItem


@dataclasses.dataclass(frozen=True)
class AllowedDraft:
    """The draft without what was left out, and those of its protected files that a person has named or approved."""

    draft: Draft
    left_out: tuple[str, ...] = ()
    named: tuple[str, ...] = ()


def restrict_draft(draft: Draft, permit: Permit, by_person: bool) -> AllowedDraft:
    """A task that changes nothing any more is left out too, and what needs it then needs what it needed."""
    named = {path for item in draft.unfinished for path in approved_files(draft, item) if by_person}
    permit = dataclasses.replace(permit, paths=permit.paths | named)
    left_out = {path for item in draft.unfinished for path in item.files if permit.refusal_for(path)}
    kept = [without_files(item, left_out) for item in draft.task]
    gone = {old.id: old.needs for old, new in zip(draft.task, kept, strict=True) if old.files and not new.files}
    items = [dataclasses.replace(item, needs=bypass_needs(item.needs, gone)) for item in kept if item.id not in gone]
    counted = sorted(path for path in named if protection_of(path) or manifest_reader(path))
    return AllowedDraft(draft.with_items(items), tuple(sorted(left_out)), tuple(counted))


def approved_files(draft: Draft, item: PlanItem) -> tuple[str, ...]:
    files = item.files if draft.approved else item.named
    return tuple(path for path in files if not is_own_file(path))


def without_files(item: PlanItem, left_out: set[str]) -> PlanItem:
    if item.done or item.proposed:
        return item
    files = tuple(path for path in item.files if path not in left_out)
    return dataclasses.replace(item, files=files, new=tuple(path for path in item.new if path in files))


def bypass_needs(needs: Iterable[str], gone: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    """The needs, with those of each task that is gone in its place."""
    found: dict[str, None] = {}
    for need in needs:
        found |= dict.fromkeys(bypass_needs(gone[need], gone) if need in gone else (need,))
    return tuple(found)
