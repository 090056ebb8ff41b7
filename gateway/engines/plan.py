"""Which engines there shall be, and on what terms."""

import msgspec

from gateway.backend import AnyBackend
from gateway.engines.aftermath import Aftermath
from gateway.engines.ration import Ration
from gateway.loader import load_backend
from gateway.model_file import Trust
from gateway.settings.schema import Config
from gateway.settings.terms import Terms, read_terms


class Planned(msgspec.Struct, frozen=True):
    """An engine as the configuration wants it. `queue`: how many requests may wait."""

    backend: AnyBackend
    slots: int
    queue: int
    terms: Terms = Terms()
    aftermath: Aftermath = Aftermath()
    ration: Ration = Ration()
    secrets: dict[str, str] = {}  # variables of its environment
    trust: Trust = Trust()

    def needs_restart(self, other: "Planned") -> bool:
        """Whether an engine of `other` is another one; slots, queue and terms change while it runs."""
        mine, theirs = self.backend, other.backend
        if type(mine) is not type(theirs) or mine.settings != theirs.settings:
            return True
        return (self.ration, self.secrets, self.trust.sha256) != (other.ration, other.secrets, other.trust.sha256)


def plan_engines(config: Config) -> dict[str, Planned]:
    """The backends that are started here, by name; raises ConfigError."""
    plans = {}
    for name, settings in config.backends.items():
        backend = load_backend(name, *settings.engine)
        if backend.launch(0) is not None:
            slots = backend.slots if settings.slots is None else settings.slots
            terms = read_terms(config, name, backend.memory())
            aftermath = Aftermath(settings.abandoned == "restart", settings.abandon_grace)
            ration = Ration(settings.nice, settings.cpus, int(settings.memory_limit or 0), settings.gpus)
            trust = Trust(config.model_roots, settings.sha256)
            plans[name] = Planned(backend, slots, settings.queue, terms, aftermath, ration, settings.secrets, trust)
    return plans
