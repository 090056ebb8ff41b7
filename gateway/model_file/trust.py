"""Which files of models may be loaded: where they lie, who may change them, and what they must be.

A model is code as far as engines go: parsers of weights had holes, and templates are executed. So before an engine is
started its model must lie below one of the `roots` (symbolic links followed), nobody but its owner and group may write
it or the folder it lies in, and the digest must be the one that was pinned, if one was.
"""

import hashlib
import os
import re
import stat
from collections.abc import Iterator, Sequence

import msgspec

from gateway.model_file.digests import Digests

_find_part = re.compile(r"-\d{5}-of-\d{5}\.gguf$").search
is_digest = re.compile(r"[0-9a-f]{64}").fullmatch


class Trust(msgspec.Struct, frozen=True):
    """`roots` are folders, none for any place. `sha256` is 64 hex digits, empty for whatever it is.

    A file has its own digest. A folder, or a GGUF in parts, has that of what `sha256sum` prints of its files, in the
    order of their names: `cd FOLDER && sha256sum * | sha256sum`.
    """

    roots: tuple[str, ...] = ()
    sha256: str = ""

    def refuse(self, path: str, digests: Digests) -> str:
        """Why the model at `path` must not be loaded, in a sentence; empty if it may, or if there is no path."""
        return path and (next(self.find_problems(path), "") or self.find_forgery(path, digests))

    def find_problems(self, path: str) -> Iterator[str]:
        """What speaks against loading the model at `path`, in sentences; its digest is not looked at."""
        real = os.path.realpath(path)
        root = next((root for root in map(_resolve, self.roots) if _is_below(real, root)), "")
        if self.roots and not root:
            yield f"the model {real} lies in none of `model_roots`"
            return
        try:
            for file in _list_files(real):
                yield from _find_strangers(file, root)
            yield from _find_openness(os.path.dirname(real))
        except OSError as error:
            yield f"the model {error.filename or real} cannot be read: {error.strerror}"

    def find_forgery(self, path: str, digests: Digests) -> str:
        """A sentence if the model is not what was pinned, else empty. Reads all of it, unless `digests` knows it."""
        if not self.sha256:
            return ""
        try:
            found = _digest(os.path.realpath(path), digests)
        except OSError as error:
            return f"the model {error.filename or path} cannot be read: {error.strerror}"
        return "" if found == self.sha256 else f"the model {path} has the SHA-256 {found}, not the one that is pinned"


def _digest(path: str, digests: Digests) -> str:
    files = _list_files(path)
    if files == [path]:
        return digests.read(path)
    listing = "".join(f"{digests.read(file)}  {os.path.basename(file)}\n" for file in files)
    return hashlib.sha256(listing.encode()).hexdigest()


def _list_files(path: str) -> list[str]:
    """The files of a model: itself, all its parts, or what lies in its folder and is no folder; in order."""
    if os.path.isdir(path):
        names = [os.path.join(path, name) for name in os.listdir(path) if not name.startswith(".")]
        return sorted(name for name in names if not os.path.isdir(name))
    if part := _find_part(path):
        folder, beginning = os.path.split(path[: part.start()])
        shape = re.compile(re.escape(beginning) + r"-\d{5}" + re.escape(part[0][6:]))
        return sorted(os.path.join(folder, name) for name in os.listdir(folder) if shape.fullmatch(name))
    return [path]


def _find_strangers(path: str, root: str) -> Iterator[str]:
    """Links are followed: a cache of the hub is made of them."""
    real = os.path.realpath(path)
    status = os.stat(real)
    if root and not _is_below(real, root):
        yield f"the file {path} is a link to {real}, which lies outside of {root}"
    if not stat.S_ISREG(status.st_mode):
        yield f"the file {real} is no plain file"
    elif status.st_mode & stat.S_IWOTH:
        yield f"everybody may write the file {real}: chmod o-w"
    owners = {0, os.geteuid()} | ({os.stat(root).st_uid} if root else {status.st_uid})
    if status.st_uid not in owners:
        yield f"the file {real} belongs to user {status.st_uid}: neither to us, nor to root, nor to the owner of {root}"


def _find_openness(folder: str) -> Iterator[str]:
    mode = os.stat(folder).st_mode
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        yield f"everybody may put another model into {folder}: chmod o-w"


def _resolve(root: str) -> str:
    return os.path.realpath(os.path.expanduser(root))


def _is_below(path: str, root: str) -> bool:
    return os.path.commonpath((path, root)) == root


def find_root_problems(roots: Sequence[str]) -> Iterator[tuple[int, str]]:
    """What is wrong with the roots themselves, by their numbers."""
    for at, root in enumerate(roots):
        if not os.path.isdir(_resolve(root)):
            yield at, f"there is no folder {root}"
