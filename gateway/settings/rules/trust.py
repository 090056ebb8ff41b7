"""Models: they lie where they may, nobody else may change them, and what is pinned can be looked at."""

from collections.abc import Iterator

from gateway.loader import load_backend
from gateway.model_file import Trust
from gateway.model_file.trust import find_root_problems, is_digest
from gateway.settings.problem import ConfigError, Problem, join
from gateway.settings.schema import Config


def check_trust(config: Config) -> Iterator[Problem]:
    """Digests themselves are looked at before each start: to read a large model takes its time."""
    for at, message in find_root_problems(config.model_roots):
        yield Problem(join("model_roots", at), message)
    for name, settings in config.backends.items():
        try:
            backend = load_backend(name, *settings.engine)
        except ConfigError:
            continue  # told by another rule
        model, path = backend.model_path(), f"backends.{name}"
        if settings.sha256 and not is_digest(settings.sha256):
            yield Problem(f"{path}.sha256", "is not a SHA-256 in 64 lower-case hex digits")
        elif settings.sha256 and not model:
            yield Problem(f"{path}.sha256", "there is no file or folder of a model to look at")
        if model and not backend.problems():
            trust = Trust(config.model_roots, settings.sha256)
            yield from (Problem(join(path, settings.engine[0]), told) for told in trust.find_problems(model))
