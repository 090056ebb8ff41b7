from pathlib import Path

import pytest

from gateway.settings.document import read_document
from gateway.settings.problem import ConfigError


def problems(text: str, **environ: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read_document(text, environ)
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5), ("50_000", 50_000), ("-3", -3), ("2.5", 2.5), ("1e3", 1000.0), (".5", 0.5), ("true", True),
        ("false", False), ("null", None), ("~", None), ("", None), ("yes", "yes"), ("off", "off"), ("12:30", "12:30"),
        ("2027-01-01", "2027-01-01"), ("0123", 123), ("'5'", "5"), ("1.2.3", "1.2.3"), ("[]", []), ("{a: 1}", {"a": 1}),
    ],
)  # fmt: skip
def test_scalars_mean_what_they_look_like(text: str, value: object) -> None:
    assert read_document(f"key: {text}", {}).data == {"key": value}


def test_an_empty_file_is_an_empty_configuration() -> None:
    assert read_document("# nothing\n", {}).data == {}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${A}", "text"), ("${N}", 7),
        ('"${N}"', "7"), ("${MISSING:-2}", 2), ("${MISSING:-}", ""), ("${EMPTY}", ""),
        ("${EMPTY:-x}", "x"), ("a-${N}-${A}", "a-7-text"), ("$${A}", "${A}"), ("$A", "$A"), ("$${A} ${N}", "${A} 7"),
        ("${MISSING:-a:-b}", "a:-b"), ("[${N}, '${N}']", [7, "7"]), ("{a: ${A}, b: ${N}}", {"a": "text", "b": 7}),
        ("{${A}: 1}", {"${A}": 1}), ("x # ${MISSING}", "x"), ("|\n  ${A}\n", "text\n"),
    ],
)  # fmt: skip
def test_variables(text: str, value: object) -> None:
    document = read_document(f"key: {text}", {"A": "text", "N": "7", "EMPTY": ""})
    assert document.data == {"key": value}


def test_a_file_is_text_without_its_last_newline(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("0123\n")
    document = read_document(f"keys: [${{file:{tmp_path}/secret}}, x]", {})
    assert document.data == {"keys": ["0123", "x"]}
    assert document.expanded == {"keys[0]"}


def test_values_are_data_and_never_structure() -> None:
    document = read_document("key: ${A}", {"A": "{a: 1}\nother: 2"})
    assert document.data == {"key": "{a: 1}\nother: 2"}


def test_every_problem_is_told_with_its_line() -> None:
    assert problems("a: 1\na: 2\nb: {c: ${NOPE}}\nd: ['${file:/no/such}']\ne: ${1x}\n") == [
        "line 2: a: `a` stands twice, first on line 1",
        "line 3: b.c: the environment variable NOPE is not set; set it, or write ${NOPE:-default}",
        "line 4: d[0]: the file /no/such cannot be read: No such file or directory",
        "line 5: e: `${1x}` is not ${NAME}, ${NAME:-default} or ${file:/path}",
    ]


@pytest.mark.parametrize("text", ["- a", "5", "a: [", "a: b: c", "a: &x [*x]", "a: \0", "a: *nope", "\t"])
def test_what_is_no_mapping_is_refused(text: str) -> None:
    assert len(problems(text)) == 1


@pytest.mark.parametrize("key", ['"a\\nb"', "[1, 2]", "{a: 1}", "''"])
def test_keys_are_plain_text(key: str) -> None:
    assert problems(f"? {key}\n: 1\nb: {{? {key} : 1}}") == [
        "line 1: holds what is no plain key",
        "line 3: b: holds what is no plain key",
    ]


def test_lines_are_known_for_paths_and_for_what_lies_below() -> None:
    document = read_document("a:\n  b:\n    - x\n    - c: 1\n  d.e: 2\n", {})
    found = {path: document.line(path) for path in ("a", "a.b", "a.b[1]", "a.b[1].c", "a.b[1].c.deeper", "a.d.e", "z")}
    assert found == {"a": 1, "a.b": 2, "a.b[1]": 4, "a.b[1].c": 4, "a.b[1].c.deeper": 4, "a.d.e": 5, "z": 1}
