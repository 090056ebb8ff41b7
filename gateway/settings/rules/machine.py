"""What the configuration asks of this machine."""

import os
import resource
from collections.abc import Iterator
from pathlib import Path

from gateway.settings.problem import Problem
from gateway.settings.schema import Config


def check_machine(config: Config) -> Iterator[Problem]:
    """The state directory can be written, and there are cores for the workers."""
    directory = Path(config.state.directory).absolute()
    nearest = next(path for path in (directory, *directory.parents) if path.exists())
    if not nearest.is_dir():
        yield Problem("state.directory", f"{nearest} is not a directory")
    elif not os.access(nearest, os.W_OK | os.X_OK):
        yield Problem("state.directory", f"{nearest} cannot be written by this user; change its owner, or the setting")
    usable = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
    for name, backend in config.backends.items():
        if missing := sorted(set(backend.cpus) - usable):
            message = f"there is no processor {', '.join(map(str, missing))} for it here; there are {sorted(usable)}"
            yield Problem(f"backends.{name}.cpus", message)
        if backend.memory_limit and not hasattr(resource, "prlimit"):
            message = "this system lets nobody bound the memory of a process: Linux does"
            yield Problem(f"backends.{name}.memory_limit", message, "warning")
    cores = len(usable)
    if config.workers != "auto" and config.workers > cores:
        message = f"{config.workers} workers share {cores} cores, which is slower than one worker a core; write auto"
        yield Problem("workers", message, "warning")
