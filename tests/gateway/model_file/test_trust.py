"""S50: which models may be loaded."""

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from gateway.model_file import Digests, Trust
from gateway.settings.check import find_problems
from gateway.settings.load import load_text


@pytest.fixture
def models(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir(mode=0o755)
    (folder / "a.gguf").write_bytes(b"weights")
    (folder / "a.gguf").chmod(0o644)
    return folder


def problems(path: Path, *roots: Path) -> list[str]:
    return list(Trust(tuple(map(str, roots))).find_problems(str(path)))


def test_s50_a_model_below_a_root_is_well(models: Path, tmp_path: Path) -> None:
    assert problems(models / "a.gguf", tmp_path / "other", models) == []
    assert problems(models, tmp_path) == []
    assert problems(models / "a.gguf") == [], "without roots anywhere"


def test_s50_links_are_followed_before_they_are_judged(models: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere.gguf").write_bytes(b"x")
    link, inside = models / "b.gguf", models / "c.gguf"
    link.symlink_to(tmp_path / "elsewhere.gguf")
    inside.symlink_to(models / "a.gguf")
    (tmp_path / "way").symlink_to(models)
    assert problems(link, models) == [f"the model {tmp_path}/elsewhere.gguf lies in none of `model_roots`"]
    assert problems(models / ".." / "elsewhere.gguf", models) != []
    assert problems(inside, models) == []
    assert problems(tmp_path / "way" / "a.gguf", models) == problems(models / "a.gguf", tmp_path / "way") == []
    told = problems(models, models)
    assert told == [f"the file {link} is a link to {tmp_path}/elsewhere.gguf, which lies outside of {models}"]


def test_s50_a_root_is_a_folder_and_no_beginning(models: Path, tmp_path: Path) -> None:
    (tmp_path / "models-of-others").mkdir()
    (tmp_path / "models-of-others" / "a.gguf").write_bytes(b"x")
    assert "lies in none" in problems(tmp_path / "models-of-others" / "a.gguf", models)[0]


def test_s50_what_everybody_may_write_is_refused(models: Path) -> None:
    (models / "a.gguf").chmod(0o646)
    assert problems(models / "a.gguf") == [f"everybody may write the file {models}/a.gguf: chmod o-w"]
    assert problems(models) == problems(models / "a.gguf"), "a folder is its files"
    (models / "a.gguf").chmod(0o644)
    models.chmod(0o777)
    assert problems(models / "a.gguf") == [f"everybody may put another model into {models}: chmod o-w"]
    models.chmod(0o1777)
    assert problems(models / "a.gguf") == [], "sticky: nobody replaces what belongs to others"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_s50_what_belongs_to_strangers_is_refused(models: Path) -> None:
    os.chown(models / "a.gguf", 4711, -1)
    assert problems(models / "a.gguf") == [], "nobody said whose they should be"
    assert "belongs to user 4711" in problems(models / "a.gguf", models)[0]
    os.chown(models, 4711, -1)
    assert problems(models / "a.gguf", models) == [], "who owns the root was trusted with it"


def test_s50_what_cannot_be_read_is_told(models: Path) -> None:
    assert problems(models / "gone.gguf") == [f"the model {models}/gone.gguf cannot be read: No such file or directory"]
    os.mkfifo(models / "pipe")
    assert problems(models / "pipe") == [f"the file {models}/pipe is no plain file"]


def test_s50_a_pinned_digest_is_kept(models: Path) -> None:
    path = str(models / "a.gguf")
    good = Trust(sha256=hashlib.sha256(b"weights").hexdigest())
    assert good.refuse(path, Digests()) == ""
    (models / "a.gguf").write_bytes(b"Weights")
    assert "not the one that is pinned" in good.refuse(path, Digests())
    assert "cannot be read" in good.find_forgery(path + "x", Digests())
    assert Trust().refuse(path, Digests()) == good.refuse("", Digests()) == ""


def test_s50_the_digest_of_many_files_is_that_of_their_list(models: Path) -> None:
    for number in (1, 2):
        (models / f"b-0000{number}-of-00002.gguf").write_bytes(b"%d" % number)
    (models / ".hidden").write_bytes(b"x")
    (models / "folder").mkdir()
    for path, files in ((models, "*"), (models / "b-00001-of-00002.gguf", "b-*")):
        command = f"sha256sum $(LC_ALL=C ls -d {files} | grep -v folder) | sha256sum"
        told = subprocess.run(["sh", "-c", command], cwd=models, capture_output=True, text=True, check=True).stdout
        assert Trust(sha256=told.split()[0]).refuse(str(path), Digests()) == ""
    (models / "b-00002-of-00002.gguf").write_bytes(b"3")
    assert Trust(sha256=told.split()[0]).refuse(str(path), Digests())


def test_s50_a_file_is_read_once_until_it_changes(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, memory = str(models / "a.gguf"), str(tmp_path / "digests.json")
    sha256 = Digests(memory).read(path)
    assert Path(memory).stat().st_mode & 0o777 == 0o600
    reads: list[str] = []
    real = hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", lambda file, kind: (reads.append(file.name), real(file, kind))[1])
    assert Digests(memory).read(path) == sha256 == hashlib.sha256(b"weights").hexdigest()
    assert reads == [], "another process knew it"
    before = os.stat(path)
    (models / "a.gguf").write_bytes(b"Weights")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert Digests(memory).read(path) != sha256, "its time was set back, its length is the same"
    assert reads == [path]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"a": 1}'])
def test_a_torn_memory_costs_time_only(models: Path, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "digests.json").write_bytes(content)
    assert len(Digests(str(tmp_path / "digests.json")).read(str(models / "a.gguf"))) == 64
    assert Digests(str(tmp_path / "no" / "folder")).read(str(models / "a.gguf"))


def test_s50_check_tells_it(models: Path) -> None:
    run = f'{{run: "true {{port}} {{model}}", model: {models}/a.gguf}}'
    (models / "a.gguf").chmod(0o666)
    config = load_text(
        f"model_roots: [{models}, /no/such/folder]\n"
        f"backends: {{a: {{command: {run}, sha256: 'a1'}}, b: {{echo: {{}}, sha256: '{'0' * 64}'}}}}"
    )
    assert {(problem.path, problem.message) for problem in find_problems(config) if problem.level == "error"} == {
        ("model_roots[1]", "there is no folder /no/such/folder"),
        ("backends.a.command", f"everybody may write the file {models}/a.gguf: chmod o-w"),
        ("backends.a.sha256", "is not a SHA-256 in 64 lower-case hex digits"),
        ("backends.b.sha256", "there is no file or folder of a model to look at"),
    }
