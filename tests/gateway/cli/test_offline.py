"""Commands that need no running gateway: check, errors, keys and consumers in the store itself."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.cli import tollkeeper
from gateway.errors import CATALOGUE
from gateway.settings.key import digest


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "gateway.yaml"
    path.write_text(
        f"state: {{directory: {tmp_path}/var}}\n"
        "tiers: {free: {rate: 10/min}, pro: {rate: 100/min}}\n"
        f"consumers: {{acme: {{tier: pro, keys: [{{sha256: {'ab' * 32}, expires: 2020-01-01}}]}}}}\n"
    )
    return path


def run(*arguments: str, file: Path | None = None, stdin: str = "") -> Result:
    options = ["-c", str(file)] if file else []
    return CliRunner().invoke(tollkeeper, [*arguments, *options], input=stdin)


def make_key(file: Path, *options: str, stdin: str = "") -> Result:
    return run("key", "new", *options, file=file, stdin=stdin)


def test_check_of_a_good_file(file: Path) -> None:
    result = run("check", str(file))
    assert result.exit_code == 0
    assert result.stdout == f"{file}: 0 errors, 2 warnings\n"
    assert run("check", "--strict", str(file)).exit_code == 1


def test_check_of_a_bad_file(file: Path) -> None:
    file.write_text("tiers:\n  free: {rat: 1/s}\nlisten: {proxy: x}\n")
    result = run("check", str(file))
    assert result.exit_code == 1
    assert result.stderr == f"{file}:2: error: tiers.free.rat: unknown key `rat`, did you mean `rate`?\n"
    assert result.stdout == f"{file}: 1 error, 0 warnings\n"


def test_wrong_usage_is_2() -> None:
    for arguments in (["nonsense"], ["key", "new"], ["key", "rotate"], ["check", "a", "b"], ["errors", "x"]):
        assert run(*arguments).exit_code == 2, arguments


def test_an_unreadable_configuration_is_wrong_usage(file: Path) -> None:
    file.write_text("tierz: {}")
    result = run("key", "list", file=file)
    assert result.exit_code == 2
    assert "did you mean `tiers`" in result.stderr


def test_errors() -> None:
    assert run("errors", "1501").stdout.startswith("1501 rate_limit_exceeded (HTTP 429, RATE_LIMIT)")
    assert len(run("errors").stdout.splitlines()) == len(CATALOGUE)
    missing = run("errors", "1")
    assert (missing.exit_code, missing.stdout) == (1, "")


def test_the_schema_is_json() -> None:
    assert json.loads(run("schema").stdout)["properties"].keys() >= {"tiers", "routes", "plugins"}


def test_a_key_is_printed_alone_and_listed_without_its_secret(file: Path) -> None:
    made = make_key(file, "--consumer", "bob", "--tier", "free", "--models", "q*", "--expires", "30d")
    key = made.stdout.strip()
    assert re.fullmatch(r"tk_\w{12}_\w{43}_\w{6}", key)
    name = key.split("_")[1]
    assert made.stderr == f"key {name} of bob\n"
    listed = run("key", "list", file=file).stdout
    row = next(line for line in listed.splitlines() if line.startswith(name))
    assert re.search(r"bob +\w{4} +good until \d{4}-\d\d-\d\d \S+ UTC +- +q\* +- +- +store$", row)
    assert key.split("_")[2] not in listed
    assert "expired 2020-01-01 00:00 UTC" in listed


def test_the_store_holds_no_key(file: Path) -> None:
    key = make_key(file, "--consumer", "acme").stdout.strip()
    stored = b"".join(path.read_bytes() for path in (file.parent / "var").iterdir())
    assert digest(key) in stored
    assert key.split("_")[2].encode() not in stored


def test_a_key_of_somebody_else_is_taken_from_stdin_and_not_echoed(file: Path) -> None:
    result = make_key(file, "--consumer", "acme", "--import-stdin", stdin="sk-made-elsewhere\n")
    assert result.exit_code == 0
    assert "sk-made" not in result.output
    assert make_key(file, "--consumer", "acme", "--import-stdin", stdin="short\n").exit_code == 1


def test_revoke_and_rotate(file: Path) -> None:
    old = make_key(file, "--consumer", "acme").stdout.split("_")[1]
    rotated = run("key", "rotate", old, "--overlap", "1h", file=file)
    new = rotated.stdout.split("_")[1]
    assert rotated.stderr == f"key {new} of acme replaces {old}\n"
    assert run("key", "revoke", new, file=file).stdout == f"revoked {new}\n"
    listed = run("key", "list", "--consumer", "acme", file=file).stdout
    assert re.search(rf"{old} .*good until", listed)
    assert re.search(rf"{new} .*revoked \d", listed)


def test_refusals_say_why(file: Path) -> None:
    for arguments, reason in (
        (["key", "revoke", "nope"], "there is no key nope"),
        (["key", "new", "--consumer", "bob"], "needs one of the tiers free, pro"),
        (["consumer", "remove", "acme"], "stands in the configuration file"),
        (["consumer", "show", "nobody"], "there is no consumer nobody"),
        (["status"], "no gateway runs here"),
        (["reload"], "no gateway runs here"),
    ):
        result = run(*arguments, file=file)
        assert result.exit_code == 1, arguments
        assert result.stderr.startswith("tollkeeper: ")
        assert reason in result.stderr


@pytest.mark.parametrize("when", ["soon", "-1d", "2027-13-01"])
def test_dates_that_are_none(file: Path, when: str) -> None:
    result = make_key(file, "--consumer", "acme", "--expires", when)
    assert result.exit_code == 2
    assert "neither a date" in result.stderr


def test_consumers(file: Path) -> None:
    set_up = run("consumer", "set", "bob", "--tier", "pro", "--project", "search", file=file)
    assert set_up.stdout.splitlines()[1].split() == ["bob", "pro", "-", "-", "search", "-", "-", "-", "-", "store"]
    assert [line.split()[0] for line in run("consumer", "list", file=file).stdout.splitlines()[1:]] == ["acme", "bob"]
    override = ("--override-tier", "pro", "--override-until", "30d")
    shown = run("consumer", "set", "bob", "--tier", "pro", *override, file=file).stdout.splitlines()[1]
    assert shown.split()[2] == "pro"
    assert run("consumer", "set", "bob", "--tier", "pro", "--override-until", "never", file=file).exit_code == 2
    assert run("consumer", "remove", "bob", file=file).stdout == "removed bob\n"
    assert len(run("consumer", "list", file=file).stdout.splitlines()) == 2


def test_folders_of_the_working_directory_shadow_nothing(tmp_path: Path) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "__init__.py").write_text("raise SystemExit('shadowed')")
    (tmp_path / "a.yaml").write_text("tiers: {}\nplugins: [key_auth]\n")
    code = "import sys; sys.argv[1:] = ['check', 'a.yaml']; from gateway.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout == "a.yaml: 0 errors, 1 warning\n", done.stderr


def test_serve_imports_neither_sql_nor_control() -> None:
    code = (
        "import sys, gateway.cli.serve, gateway.supervisor\n"
        "print([name for name in sys.modules if name.split('.')[0] in ('sqlalchemy', 'alembic', 'sqlite3')"
        " or name.startswith('gateway.control')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
