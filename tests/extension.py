"""Plugins of third parties, installed for one gateway: a module and its entry point in a folder of their own."""

from pathlib import Path


def write_plugin(folder: Path, name: str, source: str, group: str = "plugins") -> dict[str, str]:
    """Install `source` as the plugin `name`; returns the environment in which a gateway finds it.

    `group` is plugins or backends.
    """
    about = folder / f"{name}-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[tollkeeper.{group}]\n{name} = their_{name}\n")
    (folder / f"their_{name}.py").write_text(source)
    return {"PYTHONPATH": str(folder)}
