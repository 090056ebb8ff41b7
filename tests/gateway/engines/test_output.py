"""An engine's output: bounded and readable."""

from pathlib import Path

from gateway.backend import Launch
from gateway.engines import output
from gateway.engines.outfit import equip
from gateway.engines.output import Output
from gateway.engines.ration import UNBOUND


def test_lines_across_pieces(tmp_path: Path) -> None:
    ring = Output(str(tmp_path / "log"))
    ring.feed(b"one\ntw")
    ring.feed(b"o\r\nthree")
    assert ring.last(5) == ["one", "two"]
    ring.finish()
    assert ring.last(2) == ["two", "three"]
    assert (tmp_path / "log").read_text() == "one\ntwo\nthree\n"


def test_no_escape_codes(tmp_path: Path) -> None:
    ring = Output(str(tmp_path / "log"))
    ring.feed(b"\x1b[1;31mred\x1b[0m \x1b]0;title\x07and\x00\x08 \xff\n")
    assert ring.last(1) == ["red and �"]


def test_bounded_in_memory(tmp_path: Path) -> None:
    ring = Output(str(tmp_path / "log"), lines=10)
    ring.feed(b"x" * 1_000_000)
    ring.feed(b"".join(b"%d\n" % n for n in range(1000)))
    assert ring.last(100) == [str(n) for n in range(990, 1000)]
    assert len(ring._rest) == 0


def test_bounded_on_disk(tmp_path: Path) -> None:
    ring = Output(str(tmp_path / "log"))
    for _ in range(60):
        ring.feed((b"y" * 999 + b"\n") * 100)
    sizes = [file.stat().st_size for file in sorted(tmp_path.iterdir())]
    assert len(sizes) == 2
    assert max(sizes) <= output._FILE
    assert all(file.stat().st_mode & 0o077 == 0 for file in tmp_path.iterdir())


def test_a_disk_that_cannot_be_written_costs_the_file_only(tmp_path: Path) -> None:
    ring = Output(str(tmp_path / "missing" / "log"))
    ring.feed(b"still here\n")
    assert ring.last(1) == ["still here"]


def test_s52_no_keys(tmp_path: Path) -> None:
    launch = Launch((), {"HF_TOKEN": "hf_abcdef", "N": "1234567"})
    outfit = equip(launch, {"k": "Bearer s3cret!"}, UNBOUND, {"LICENCE": "lic-0815"})
    ring = Output(str(tmp_path / "log"), secrets=outfit.hidden)
    ring.feed(
        b"token hf_abcdef, n 1234567, key s3cret!, lic-0815\ntk_0123456789ab_secretsecret, Authorization: Bearer x\n"
    )
    told = ["token ***, n 1234567, key ***, ***", "tk_0123456789ab_\u2026, Authorization: Bearer \u2026"]
    assert ring.last(2) == told
    assert (tmp_path / "log").read_text() == "\n".join(told) + "\n"
