"""Restrict a plan to what agents may be given: only a person can permit a change of a file that acts by itself."""

import dataclasses
from collections.abc import Iterable

from orchestra.judge.manifests import manifest_reader
from orchestra.judge.permit import Permit
from orchestra.judge.protected import is_own_file, protection_of
from orchestra.plan.draft import Draft


@dataclasses.dataclass(frozen=True)
class AllowedDraft:
    """The draft without what was left out, and its protected files that a person has named or approved."""

    draft: Draft
    left_out: tuple[str, ...] = ()
    named: tuple[str, ...] = ()


def restrict_draft(draft: Draft, permit: Permit, by_person: bool) -> AllowedDraft:
    """Restrict a draft. A task without changes is left out too, and its dependents get its dependencies."""
    approved = {path for item in draft.unfinished for path in (item.files if draft.approved else item.named)}
    named = {path for path in approved if by_person and not is_own_file(path)}
    permit = dataclasses.replace(permit, paths=permit.paths | named)
    left_out = {path for item in draft.unfinished for path in item.files if permit.refusal_for(path)}
    kept = []
    for item in draft.task:
        if not (item.done or item.proposed):
            files = tuple(path for path in item.files if path not in left_out)
            item = dataclasses.replace(item, files=files, new=tuple(path for path in item.new if path in files))
        kept.append(item)
    gone = {old.id: old.needs for old, new in zip(draft.task, kept, strict=True) if old.files and not new.files}
    items = [dataclasses.replace(item, needs=bypass_needs(item.needs, gone)) for item in kept if item.id not in gone]
    counted = sorted(path for path in named if protection_of(path) or manifest_reader(path))
    return AllowedDraft(draft.with_items(items), tuple(sorted(left_out)), tuple(counted))


def bypass_needs(needs: Iterable[str], gone: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Replace each missing task in the needs by its own needs."""
    found: dict[str, None] = {}
    for need in needs:
        found |= dict.fromkeys(bypass_needs(gone[need], gone) if need in gone else (need,))
    return tuple(found)
