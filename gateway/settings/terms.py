"""On what terms a backend's engine is in memory: what the file says, with its defaults worked out."""

import math

import msgspec

from gateway.settings.schema import Backend, Config


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """`memory` is bytes, 0 where nobody knows; `idle` and `residency` are seconds.

    `preload`: it is loaded at the start. `is_pinned`: it is never unloaded, unless somebody asks for just that.
    `revives`: it is started again and again after it has failed; others wait for the next who wants them.
    """

    memory: int = 0
    group: str = ""
    idle: float = math.inf
    residency: float = 30.0
    preload: bool = True
    is_pinned: bool = True
    revives: bool = True


def loads_on_demand(config: Config, backend: Backend) -> bool:
    """Whether an engine of `backend` is loaded by the first request; where memory is shared, that is the default."""
    if backend.load is not None:
        return backend.load == "demand"
    return bool(config.memory or backend.group) or backend.idle is not None


def read_terms(config: Config, name: str, estimate: int) -> Terms:
    """The terms of the backend `name`; `estimate` is what it says its engine takes, in bytes."""
    backend = config.backends[name]
    is_lazy = loads_on_demand(config, backend)
    models = [model for model in config.models.values() if model.backend == name]
    return Terms(
        memory=int(estimate if backend.memory is None else backend.memory),
        group=backend.group,
        idle=math.inf if backend.idle is None else float(backend.idle),
        residency=float(backend.residency),
        preload=not is_lazy or any(model.preload for model in models),
        is_pinned=not is_lazy or any(model.pin for model in models),
        revives=not is_lazy,
    )
