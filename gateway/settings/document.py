"""A YAML file as plain data that remembers its lines, with `${...}` filled in.

YAML is read narrowly: plain scalars are text, numbers, `true`, `false` or empty; `yes`, `12:30` and dates stay text.
A key that stands twice is an error. `${VAR}`, `${VAR:-default}` and `${file:/path}` are replaced in values, `$${`
stands for `${`. A replaced value outside quotes is read as if it had been written there (`slots: ${SLOTS:-2}` is a
number), but it is a value and never structure; what comes from a file is always text.
"""

import re
from collections.abc import Mapping
from typing import Any

import msgspec
import yaml

from gateway.settings.problem import ConfigError, Problem, join


class Document(msgspec.Struct, frozen=True):
    """Plain data, the line of each path, and the paths whose value came from outside the file."""

    data: dict[str, Any]
    lines: dict[str, int]
    expanded: frozenset[str]

    def line(self, path: str) -> int:
        """The line of `path`, or of the nearest thing that holds it."""
        while path and path not in self.lines:
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return self.lines.get(path, 0)


def read_document(text: str, environ: Mapping[str, str]) -> Document:
    """Parse and expand `text`; raises ConfigError with every duplicate key and every unset variable."""
    reader = _Reader(environ)
    try:
        root = yaml.compose(reader.hide(text), _Loader)
        data = {} if root is None else reader.read(root, "")
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise ConfigError([Problem("", f"not valid YAML: {error.problem or error.context}", line=line)]) from None
    except yaml.YAMLError as error:
        raise ConfigError([Problem("", f"not valid YAML: {error}".replace("\n", " "))]) from None
    except RecursionError:
        raise ConfigError([Problem("", "nested too deeply, or an alias that holds itself")]) from None
    if not isinstance(data, dict):
        reader.complain("", "the file must hold a mapping such as `routes: [...]`")
    if reader.problems:
        raise ConfigError(reader.problems)
    return Document(data, reader.lines, frozenset(reader.expanded))


class _Loader(yaml.CSafeLoader):
    """libyaml with the scalars of this module: no dates, no sexagesimal numbers, no yes and no."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's own shape


_FLOAT = r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9]+|[0-9][0-9_]*(?:\.[0-9_]*)?[eE][-+]?[0-9]+)"
for _tag, _pattern, _first in (
    ("null", r"(?:~|null|)", "~n"),
    ("bool", r"(?:true|false)", "tf"),
    ("int", r"[-+]?[0-9][0-9_]*", "-+0123456789"),
    ("float", _FLOAT, "-+.0123456789"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^{_pattern}$"), [*_first])
_Loader.yaml_implicit_resolvers.setdefault("", []).append(("tag:yaml.org,2002:null", re.compile("^$")))

_REFERENCE = re.compile(r"\$?\$\{([^{}\n]*)\}")
_HIDDEN = re.compile("\ue000([0-9]+)\ue001")  # of Unicode's private use area: YAML takes it for a letter
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class _Reader:
    """Turns nodes into plain data and collects what is wrong on the way."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.problems: list[Problem] = []
        self.lines: dict[str, int] = {}
        self.expanded: set[str] = set()
        self._references: list[re.Match[str]] = []

    def hide(self, text: str) -> str:
        """`text` with a plain letter for each `${...}`, whose braces would mean something to YAML (`{key: ${KEY}}`)."""

        def keep(match: re.Match[str]) -> str:
            self._references.append(match)
            return f"\ue000{len(self._references) - 1}\ue001"

        return _REFERENCE.sub(keep, text)

    def complain(self, path: str, message: str) -> None:
        self.problems.append(Problem(path, message, line=self.lines.get(path, 0)))

    def read(self, node: yaml.Node, path: str) -> Any:
        self.lines[path] = node.start_mark.line + 1
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.read(item, join(path, at)) for at, item in enumerate(node.value)]
        assert isinstance(node, yaml.ScalarNode)
        return self._scalar(node, path)

    def _mapping(self, node: yaml.MappingNode, path: str) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            key = self._key(key_node)
            where = join(path, key)
            if not key or key in result:
                wrong = (
                    f"`{key}` stands twice, first on line {self.lines[where]}" if key else "holds what is no plain key"
                )
                self.problems.append(Problem(where if key else path, wrong, line=line))
                continue
            result[key] = self.read(value_node, where)
            self.lines[where] = line
        return result

    def _key(self, node: yaml.Node) -> str:
        """A key as it is written, nothing for what cannot be one."""
        if not isinstance(node, yaml.ScalarNode):
            return ""
        key = _HIDDEN.sub(lambda match: self._references[int(match[1])][0], str(node.value))
        return key if key.isprintable() else ""

    def _scalar(self, node: yaml.ScalarNode, path: str) -> Any:
        text = str(node.value)
        if "\ue000" not in text:
            return _value(node.tag, text)
        kinds: set[str] = set()
        text = _HIDDEN.sub(lambda match: self._replace(self._references[int(match[1])], path, kinds), text)
        if kinds:
            self.expanded.add(path)
        if node.style or kinds != {"variable"} or not text:
            return text
        return _value(_tag_of(text), text)

    def _replace(self, match: re.Match[str], path: str, kinds: set[str]) -> str:
        if match[0].startswith("$$"):
            return match[0][1:]
        if match[1].startswith("file:"):
            kinds.add("file")
            return self._file(match[1].removeprefix("file:"), path)
        kinds.add("variable")
        name, has_default, default = match[1].partition(":-")
        if not _NAME.fullmatch(name):
            self.complain(path, f"`{match[0]}` is not ${{NAME}}, ${{NAME:-default}} or ${{file:/path}}")
        elif name not in self._environ and not has_default:
            self.complain(path, f"the environment variable {name} is not set; set it, or write ${{{name}:-default}}")
        return self._environ.get(name, "") or default

    def _file(self, name: str, path: str) -> str:
        try:
            with open(name, encoding="utf-8") as file:
                return file.read().rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            self.complain(path, f"the file {name} cannot be read: {reason}")
            return ""


def _tag_of(text: str) -> str:
    for tag, pattern in _Loader.yaml_implicit_resolvers.get(text[:1], ()):
        if pattern.match(text):
            return tag
    return "tag:yaml.org,2002:str"


def _value(tag: str, text: str) -> Any:
    match tag.rpartition(":")[2]:
        case "null":
            return None
        case "bool":
            return text == "true"
        case "int":
            return int(text.replace("_", ""))
        case "float":
            return float(text.replace("_", ""))
        case _:
            return text
