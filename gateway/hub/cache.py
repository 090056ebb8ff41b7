"""What the cache of huggingface_hub holds: versions of models, and parts of files whose download broke off."""

import fcntl
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from huggingface_hub import constants, scan_cache_dir

PART = "(part)"  # in the place of a version


class Held(NamedTuple):
    """A version, or a part, of a model; `size` in bytes, what versions share is counted for each."""

    model: str
    version: str
    size: int
    refs: str  # the branches that mean this version, with commas
    path: Path


def list_held() -> list[Held]:
    """All that is there, by model."""
    cache = Path(constants.HF_HUB_CACHE)
    cache.mkdir(parents=True, exist_ok=True)
    held = [
        Held(repo.repo_id, version.commit_hash, version.size_on_disk, ", ".join(sorted(version.refs)), Path())
        for repo in scan_cache_dir().repos
        if repo.repo_type == "model"
        for version in repo.revisions
    ]
    for path in cache.glob("models--*/blobs/*.incomplete"):
        model = path.parent.parent.name.removeprefix("models--").replace("--", "/", 1)
        held.append(Held(model, PART, path.stat().st_size, "", path))
    return sorted(held)


def delete(held: Sequence[Held]) -> int:
    """Delete these, but for parts that are being fetched just now; returns the bytes that this freed."""
    freed = 0
    for part in held:
        if part.version == PART:
            freed += part.size if _remove(part.path) else 0
    versions = [one.version for one in held if one.version != PART]
    strategy = scan_cache_dir().delete_revisions(*versions)
    strategy.execute()
    return freed + strategy.expected_freed_size


def _remove(path: Path) -> bool:
    with path.open("rb") as opened:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        path.unlink()
        return True
