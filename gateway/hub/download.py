"""Models of the Hugging Face hub: their files, and how these come into the hub's cache or into a folder.

huggingface_hub speaks to the hub and lays out its cache. It neither goes on where an earlier run broke off nor compares
checksums (1.33 does not), so bytes land in a part file first, named by the checksum they must have. Only who has
the extra `hub` can import this. Tokens are the library's affair (HF_TOKEN) and never printed.
"""

import errno
import fcntl
import hashlib
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

import httpx
from huggingface_hub import HfApi, constants, get_hf_file_metadata, hf_hub_download, hf_hub_url
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)
from huggingface_hub.file_download import http_get, repo_folder_name
from huggingface_hub.utils import build_hf_headers, disable_progress_bars

from gateway.relay.registry import is_model_id

_BLOCK = 1 << 20
_SHOWN = 12  # names in a sentence

disable_progress_bars()
logging.getLogger("huggingface_hub").setLevel(logging.ERROR)


class Unavailable(Exception):
    """What was asked cannot be had; the text says why, and what helps."""


class HubFile(NamedTuple):
    """A file of a model: `checksum` is its SHA-256, or git's SHA-1 of a small one (docs of hf_hub_url: ETag)."""

    name: str
    url: str
    size: int
    checksum: str


class Listing(NamedTuple):
    """The files that were asked for, of one version of a model."""

    model: str
    commit: str
    files: Sequence[HubFile]


def split_name(text: str) -> tuple[str, str]:
    """`org/name[:file]` in two; raises Unavailable for what is no id. The file may be a pattern, "" means all."""
    model, _, file = text.partition(":")
    if not is_model_id(model) or model.count("/") != 1:
        raise Unavailable(f"{text!r} is no model of the hub: write org/name, or org/name:file")
    return model, file


def list_files(model: str, pattern: str) -> Listing:
    """What the hub has of a model now. Raises Unavailable."""
    with _plain_words(model):
        info = HfApi().model_info(model)
        names = [sibling.rfilename for sibling in info.siblings or ()]
        wanted = _choose(model, names, pattern)
        commit = str(info.sha)
        return Listing(model, commit, [_describe(model, commit, name) for name in wanted])


def place(listing: Listing, file: HubFile, folder: str) -> Path:
    """Where a file belongs: by its name in `folder`, or as a blob of the hub's cache where that is ""."""
    return Path(folder, file.name) if folder else _cached(listing.model) / "blobs" / file.checksum


def missing(target: Path, file: HubFile) -> int:
    """Bytes that are still to come. Blobs of the cache are known by their names, other files by what they hold."""
    if target.is_file() and (target.name == file.checksum or _checksum(target, file) == file.checksum):
        return 0
    part = _part(target, file)
    return file.size - min(part.stat().st_size if part.exists() else 0, file.size)


def check_space(folder: Path, needed: int) -> None:
    """Raises Unavailable where `needed` bytes do not fit beside what is there."""
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise Unavailable(f"no space in {folder}: {needed / 1e9:.2f} GB are needed, {free / 1e9:.2f} GB are free")


def fetch(model: str, target: Path, file: HubFile, tell: Callable[[int], None]) -> None:
    """Fetch the rest of a file, compare its checksum and put it in place; `tell` hears how many bytes are there.

    Raises Unavailable. What came is kept when a connection breaks, and thrown away when its checksum is another one.
    """
    if target.name == file.checksum and target.exists():
        return  # another file of the model holds the same
    part = _part(target, file)
    part.parent.mkdir(parents=True, exist_ok=True)
    with _plain_words(model, "; what came is kept, the same command goes on there"), part.open("ab") as opened:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Unavailable(f"{file.name} is being fetched by another command") from None
        if opened.tell() > file.size:
            opened.truncate(0)
        start = opened.seek(0, os.SEEK_END)
        tell(start)
        headers = {**build_hf_headers(), "Accept-Encoding": "identity"}
        output = cast(BinaryIO, _Told(opened, tell))
        http_get(file.url, output, resume_size=start, headers=headers, expected_size=file.size)
        opened.flush()
        if _checksum(part, file) != file.checksum:
            part.unlink()
            raise Unavailable(f"{file.name} came with another checksum than the hub tells: it was thrown away")
        part.replace(target)


def link(listing: Listing) -> str:
    """Make a version of the cache from blobs that are there; its folder, or the file where there is one."""
    with _plain_words(listing.model):
        for file in listing.files:
            hf_hub_download(listing.model, file.name, revision=listing.commit)
    folder = _cached(listing.model)
    reference = folder / "refs" / "main"
    reference.parent.mkdir(exist_ok=True)
    reference.write_text(listing.commit)
    snapshot = folder / "snapshots" / listing.commit
    return str(snapshot / listing.files[0].name if len(listing.files) == 1 else snapshot)


class _Told:
    """A file that says how long it has become."""

    def __init__(self, file: BinaryIO, tell: Callable[[int], None]) -> None:
        self._file, self._tell = file, tell
        self.seek, self.tell, self.truncate = file.seek, file.tell, file.truncate

    def write(self, data: bytes) -> int:
        written = self._file.write(data)
        self._tell(self._file.tell())
        return written


def _cached(model: str) -> Path:
    return Path(constants.HF_HUB_CACHE, repo_folder_name(repo_id=model, repo_type="model"))


def _part(target: Path, file: HubFile) -> Path:
    """Named by what it will hold: another version never goes on in it."""
    return target.parent / f"{file.checksum}.incomplete"


def _choose(model: str, names: Sequence[str], pattern: str) -> list[str]:
    wanted = [name for name in names if not pattern or fnmatchcase(name, pattern)]
    files = sorted(name for name in names if not name.startswith("."))
    if not wanted:
        raise Unavailable(f"{model} has no file {pattern or 'at all'}; it has {_shorten(files)}")
    quantized = sorted(name for name in names if name.endswith(".gguf"))
    if not pattern and len(quantized) > 1:
        raise Unavailable(f"{model} has several GGUF files: add :FILE or a pattern, of {_shorten(quantized)}")
    for name in wanted:
        if name.startswith("/") or ".." in name.split("/") or "\\" in name or "\0" in name:
            raise Unavailable(f"{model} names a file {name!r}, which leads out of its folder")
    return sorted(wanted)


def _shorten(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (" and more" if len(names) > _SHOWN else "")


def _describe(model: str, commit: str, name: str) -> HubFile:
    url = hf_hub_url(model, name, revision=commit)
    told = get_hf_file_metadata(url)
    checksum = told.etag or ""
    if len(checksum) not in (40, 64) or not set(checksum) <= set("0123456789abcdef") or told.size is None:
        raise Unavailable(f"the server tells no checksum and size of {name}: it cannot be verified")
    if told.size > constants.MAX_HTTP_DOWNLOAD_SIZE:  # what the hub gives over plain HTTP
        raise Unavailable(f"{name} has more than 50 GB: only `hf download` with hf_xet fetches that")
    return HubFile(name, url, told.size, checksum)


def _checksum(path: Path, file: HubFile) -> str:
    size = path.stat().st_size
    digest = hashlib.sha256() if len(file.checksum) == 64 else hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
    with path.open("rb") as opened:
        while block := opened.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


@contextmanager
def _plain_words(model: str, kept: str = "") -> Iterator[None]:
    """Errors of the library, of the network and of the disk as Unavailable; `kept` is added where bytes were kept."""
    try:
        yield
    except HFValidationError:
        raise Unavailable(f"{model!r} is no model of the hub: write org/name") from None
    except GatedRepoError:
        raise Unavailable(f"{model} is for those who accepted its terms: do so on its page, and set HF_TOKEN") from None
    except RepositoryNotFoundError:
        raise Unavailable(f"the hub has no model {model}, or it is private: then set HF_TOKEN") from None
    except HfHubHTTPError as error:
        raise Unavailable(f"the hub answered {error.response.status_code}{kept}") from None
    except OfflineModeIsEnabled:
        raise Unavailable("offline: HF_HUB_OFFLINE is set") from None
    except (httpx.ConnectError, httpx.ConnectTimeout):
        raise Unavailable(f"offline: {constants.ENDPOINT} cannot be reached{kept}") from None
    except httpx.HTTPError as error:
        raise Unavailable(f"the connection to the hub broke ({type(error).__name__}){kept}") from None
    except ValueError:
        raise Unavailable(f"{constants.ENDPOINT} does not answer as a hub does") from None
    except OSError as error:
        reason = "no space is left on the disk" if error.errno == errno.ENOSPC else str(error).partition("\n")[0]
        raise Unavailable(f"{reason}{kept}") from None
