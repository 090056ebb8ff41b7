"""Whatever stands in a file, it is either used or refused with problems: nothing else is ever raised."""

from pathlib import Path
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.settings.check import find_problems
from gateway.settings.document import read_document
from gateway.settings.load import build, from_plain, plain
from gateway.settings.problem import ConfigError

REFERENCE = (Path(__file__).parents[3] / "config" / "gateway.yaml").read_text("utf-8")

odd = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8)
    | st.sampled_from(["", "models", "unlimited", "fleet", "10/s", "5s", "unix:/x", "*", "/", "${X}", "127.0.0.1:0"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=4,
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_one_odd_value_anywhere(data: st.DataObject) -> None:
    config = yaml.load(REFERENCE, yaml.BaseLoader)
    replace(config, data)
    serve(yaml.safe_dump(config))


def replace(node: Any, data: st.DataObject) -> None:
    """Put an odd value somewhere below `node`, or take something away."""
    while True:
        key = data.draw(st.sampled_from([*node] if isinstance(node, dict) else [*range(len(node))]))
        if not (isinstance(node[key], dict | list) and node[key]) or data.draw(st.booleans()):
            break
        node = node[key]
    if data.draw(st.booleans()):
        node[key] = data.draw(odd)
    else:
        del node[key]


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60) | st.dictionaries(st.text(max_size=10), odd, max_size=4).map(yaml.safe_dump))
def test_any_text(text: str) -> None:
    serve(text)


def serve(text: str) -> None:
    try:
        document = read_document(text, {})
        config = build(document)
    except ConfigError as error:
        assert error.problems
        assert all(problem.message and "\n" not in problem.message for problem in error.problems)
        return
    find_problems(config, document)
    assert from_plain(plain(config)) == config
