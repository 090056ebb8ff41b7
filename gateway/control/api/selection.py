"""`?fields=a,b.c`: only these members of the data. Pure."""

from typing import Any

_MOST = 100


def parse_fields(text: str) -> dict[str, Any]:
    """A tree of wanted names; empty: everything. Raises ValueError."""
    tree: dict[str, Any] = {}
    names = [name for name in text.split(",") if name]
    if len(names) > _MOST:
        raise ValueError(f"at most {_MOST} fields")
    for name in names:
        node = tree
        *parents, leaf = name.strip().split(".")
        for parent in parents:
            node = node.setdefault(parent, {})
        node.setdefault(leaf, {})
    return tree


def select(data: Any, tree: dict[str, Any]) -> Any:
    """`data` (plain) with the members of `tree` alone; lists member by member. Names that are not there are passed."""
    if not tree:
        return data
    if isinstance(data, list):
        return [select(item, tree) for item in data]
    if not isinstance(data, dict):
        return data
    return {name: select(data[name], below) for name, below in tree.items() if name in data}
