"""Edit a plan by commands: each takes a plan and words, and returns another plan or raises one clear sentence."""

import dataclasses
import difflib
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import PurePosixPath
from typing import Any

from orchestra.errors import PlanError
from orchestra.plan.draft import PRIORITIES, RISKS, Draft, PlanItem, unused_name
from orchestra.plan.roles import KINDS

Words = Sequence[str]
SENTENCE_END = re.compile(r"(?<=[.;!?]\s)")
SPLIT_NOTE = "Only the part in {files} is meant here; another task changes {others}."
DraftEdit = Callable[[Draft, Words], Draft]
TEXTS = ("title", "brief", "role", "priority", "risk", "kind")
LISTS = ("files", "new", "reads", "acceptance", "requirements")


def edit_draft(draft: Draft, words: Words) -> Draft:
    """Apply one command, such as `connect use model`."""
    edit = EDITS.get(words[0]) if words else None
    if edit is None:
        near = difflib.get_close_matches(words[0] if words else "", EDITS, 1)
        hint = f"Did you mean {near[0]}?" if near else f"There are {', '.join(EDITS)}."
        raise PlanError(f"a plan cannot be changed by {' '.join(words[:1])!r}.", hint=hint)
    return edit(draft, words[1:])


def add_item(draft: Draft, words: Words) -> Draft:
    id, *title = require_words(words, 2, "add ID TITLE")
    if draft.find_item(id):
        raise PlanError(f"there is a task {id} already.")
    text = " ".join(title)
    return draft.with_items([*draft.task, PlanItem(unused_name(id, draft.ids), text, text)])


def remove_item(draft: Draft, words: Words) -> Draft:
    """Remove a task. Its dependents get its dependencies."""
    (id,) = require_words(words, 1, "remove ID", exactly=True)
    gone = require_item(draft, id)
    return draft.with_items(replace_need(item, id, gone.needs) for item in draft.task if item.id != id)


def set_field(draft: Draft, words: Words) -> Draft:
    id, name, *rest = require_words(words, 3, f"set ID {'|'.join(TEXTS)} TEXT")
    known = {"priority": tuple(PRIORITIES), "risk": RISKS, "kind": KINDS}.get(name, ())
    value = " ".join(rest)
    if name not in TEXTS:
        raise PlanError(f"a task has no {name!r} to set.", hint=f"It has {', '.join(TEXTS)}; for files: files ID PATH.")
    if known and value not in known:
        raise PlanError(f"{name} must be {' or '.join(known)}, not {value!r}.")
    return draft.with_item(replace_values(require_item(draft, id), **{name: value}))


def edit_list(name: str, draft: Draft, words: Words) -> Draft:
    """Edit a list: `files ID PATH ...` replaces it; +PATH and -PATH add and remove one."""
    id, *given = require_words(words, 2, f"{name} ID TEXT ... (or +TEXT, -TEXT)")
    item = require_item(draft, id)
    signed = [word for word in given if word[0] in "+-"]
    if signed and len(signed) < len(given):
        raise PlanError(f"say either all {name} of {id}, or only +TEXT and -TEXT.")
    kept = list(getattr(item, name)) if signed else []
    for word in given:
        text = word[1:] if signed else word
        if word[0] == "-" and signed and text not in kept:
            raise PlanError(f"{id} has no {text!r} among its {name}.")
        kept = [one for one in kept if one != text] + ([] if signed and word[0] == "-" else [text])
    return draft.with_item(replace_values(item, **{name: tuple(kept)}))


def split_item(draft: Draft, words: Words) -> Draft:
    """Split files of a task into a second task with the same dependencies and dependents."""
    id, new, *paths = require_words(words, 3, "split ID NEW-ID PATH ...")
    item = require_item(draft, id)
    if draft.find_item(new):
        raise PlanError(f"there is a task {new} already.")
    if strange := [path for path in paths if path not in item.files]:
        raise PlanError(f"{id} has no file {strange[0]}.", hint=f"It has {', '.join(item.files)}.")
    if len(paths) == len(item.files):
        raise PlanError(f"these are all files of {id}: none would be left.")
    name = unused_name(new, draft.ids)
    kept = tuple(path for path in item.files if path not in paths)
    rest, part = (
        dataclasses.replace(
            item,
            files=files,
            new=tuple(path for path in item.new if path in files),
            brief=brief_for_files(item.brief, files, others),
        )
        for files, others in ((kept, paths), (tuple(paths), kept))
    )
    part = dataclasses.replace(part, id=name, title=f"{item.title} ({new})")
    found = [replace_need(one, id, (id, name)) for one in draft.task]
    at = draft.ids.index(id)
    return draft.with_items([*found[:at], rest, part, *found[at + 1 :]])


def brief_for_files(brief: str, files: Words, others: Words) -> str:
    """Leave out the sentences of a brief that are only about the other files, and say which files are meant."""
    lines = []
    for line in brief.splitlines():
        sentences = SENTENCE_END.split(line)
        kept = [text for text in sentences if mentions(text, files) or not mentions(text, others)]
        lines += ["".join(kept).rstrip()] if kept else []
    note = SPLIT_NOTE.format(files=", ".join(files), others=", ".join(others))
    return "\n".join([*lines, "", note]).strip()


def mentions(text: str, paths: Words) -> bool:
    """Whether a text names one of the files, with its folder or without."""
    return any(re.search(rf"(?<![\w.-]){re.escape(PurePosixPath(path).name)}(?![\w-])", text) for path in paths)


def merge_items(draft: Draft, words: Words) -> Draft:
    """Merge the second task into the first."""
    id, other = require_words(words, 2, "merge ID OTHER-ID", exactly=True)
    one, two = require_item(draft, id), require_item(draft, other)
    if id == other:
        raise PlanError(f"{id} is the same task.")
    both = {name: tuple(dict.fromkeys((*getattr(one, name), *getattr(two, name)))) for name in (*LISTS, "needs")}
    both["needs"] = tuple(need for need in both["needs"] if need not in (id, other))
    brief = one.brief if two.brief in one.brief else f"{one.brief}\n\n{two.brief}"
    merged = replace_values(one, title=f"{one.title}; {two.title}", brief=brief, **both)
    rest = draft.with_item(merged).task
    return draft.with_items(replace_need(item, other, (id,)) for item in rest if item.id != other)


def move_item(draft: Draft, words: Words) -> Draft:
    """Move a task in the plan; of two that change one file, the later one waits for the earlier."""
    id, where, other = require_words(words, 3, "move ID before|after OTHER-ID", exactly=True)
    if where not in ("before", "after"):
        raise PlanError(f"move {id} before or after a task, not {where!r}.")
    item, target = require_item(draft, id), require_item(draft, other)
    rest = [one for one in draft.task if one.id != id]
    if id == other:
        return draft
    at = rest.index(target) + (where == "after")
    return draft.with_items([*rest[:at], item, *rest[at:]])


def connect_items(draft: Draft, words: Words) -> Draft:
    id, other = require_words(words, 2, "connect ID NEEDED-ID", exactly=True)
    item, needed = require_item(draft, id), require_item(draft, other)
    if id == other:
        raise PlanError(f"{id} cannot need itself.")
    return draft.with_item(dataclasses.replace(item, needs=tuple(dict.fromkeys((*item.needs, needed.id)))))


def disconnect_items(draft: Draft, words: Words) -> Draft:
    id, other = require_words(words, 2, "disconnect ID NEEDED-ID", exactly=True)
    item = require_item(draft, id)
    if other not in item.needs:
        raise PlanError(f"{id} does not need {other}.")
    return draft.with_item(dataclasses.replace(item, needs=tuple(need for need in item.needs if need != other)))


EDITS: dict[str, DraftEdit] = {
    "add": add_item,
    "remove": remove_item,
    "set": set_field,
    **{name: partial(edit_list, name) for name in LISTS},
    "split": split_item,
    "merge": merge_items,
    "move": move_item,
    "connect": connect_items,
    "disconnect": disconnect_items,
}
HELP = """\
  add ID TITLE                  add a task
  remove ID                     remove it; its dependents get its dependencies
  set ID title|brief|role|priority|risk|kind TEXT
  files ID PATH ...             set its files; +PATH adds one, -PATH removes one
                                (likewise new, reads, acceptance, requirements)
  split ID NEW-ID PATH ...      move these files of ID to a new task
  merge ID OTHER-ID             make one task of two
  move ID before|after OTHER-ID change the order
  connect ID NEEDED-ID          start ID when NEEDED-ID is done
  disconnect ID NEEDED-ID       remove that dependency
"""


def replace_values(item: PlanItem, **values: Any) -> PlanItem:
    return dataclasses.replace(item, **values)


def require_item(draft: Draft, id: str) -> PlanItem:
    item = draft.find_item(id)
    if item is None:
        near = difflib.get_close_matches(id, draft.ids, 1)
        hint = f"Did you mean {near[0]}?" if near else f"Its tasks: {', '.join(draft.ids[:12])}."
        raise PlanError(f"the plan has no task {id!r}.", hint=hint)
    return item


def replace_need(item: PlanItem, old: str, new: Sequence[str]) -> PlanItem:
    """Replace one need by others."""
    if old not in item.needs:
        return item
    needs = (one for need in item.needs for one in (new if need == old else (need,)))
    return dataclasses.replace(item, needs=tuple(dict.fromkeys(need for need in needs if need != item.id)))


def require_words(words: Words, least: int, usage: str, *, exactly: bool = False) -> Words:
    if len(words) < least or (exactly and len(words) > least):
        raise PlanError(f"there are {'too few' if len(words) < least else 'too many'} words.", hint=f"Usage: {usage}")
    return words
