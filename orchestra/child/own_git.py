"""Make a git directory for a sandboxed command: it borrows the user's objects, and keeps what is written to it."""

import errno
import os


def make_own_git(spec):
    """Make the directory, with the index and the commit of the user's worktree."""
    with open(os.path.join(spec["tree"], ".git"), "rb") as file:
        named = os.fsdecode(file.read().removeprefix(b"gitdir: ").rstrip(b"\n"))
    record = os.path.realpath(os.path.join(spec["tree"], named))
    if os.path.dirname(record) != os.path.join(spec["common"], "worktrees"):
        # Another command may have written it: what it names must not be copied into the sandbox.
        raise OSError(errno.EINVAL, "it is not the record of a worktree", record)
    gitdir = os.path.join(spec["box"], "gitdir")
    os.makedirs(os.path.join(gitdir, "objects", "info"))
    os.makedirs(os.path.join(gitdir, "refs", "heads"))
    shared_index = [name for name in os.listdir(record) if name.startswith("sharedindex.")]
    for name in ("HEAD", "index", *shared_index):
        copy_file(os.path.join(record, name), os.path.join(gitdir, name))
    for name in ("shallow", "packed-refs", "info/exclude", *loose_refs(spec["common"])):
        copy_file(os.path.join(spec["common"], name), os.path.join(gitdir, name))
    objects = os.path.join(spec["common"], "objects")
    if "\n" in objects:  # git quotes it then
        escaped = objects.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        objects = f'"{escaped}"'
    write_file(os.path.join(gitdir, "objects", "info", "alternates"), f"{objects}\n")
    write_file(os.path.join(gitdir, "config"), spec["git_config"])
    return {"gitdir": gitdir, "worktree": os.path.basename(record)}


def loose_refs(common):
    """Return the refs that versioning tools read: tags, branches, those of remotes."""
    for kind in ("tags", "heads", "remotes"):
        for folder, _, names in os.walk(os.path.join(common, "refs", kind)):
            yield from (os.path.relpath(os.path.join(folder, name), common) for name in names)


def copy_file(source, target):
    if os.path.isfile(source):
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(source, "rb") as read, open(target, "wb") as written:
            written.write(read.read())


def write_file(path, text):
    with open(path, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(text)
