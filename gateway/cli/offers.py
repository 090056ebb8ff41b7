"""Which models servers of others have, and whether the configuration asks them for any that they have not."""

import asyncio
from collections.abc import Iterator

import msgspec

from gateway.backend import AnyBackend
from gateway.http.tls import make_context
from gateway.loader import load_backend
from gateway.settings.problem import Problem
from gateway.settings.schema import Config

_PATIENCE = 10.0  # seconds for an answer
_SHOWN = 20


class _Model(msgspec.Struct):
    id: str


class _Listing(msgspec.Struct):
    data: list[_Model]


async def check_offers(config: Config) -> list[Problem]:
    """Ask every backend that can tell; `config` was found good. Nothing is asked of engines that are started here."""
    loaded = {name: load_backend(name, *backend.engine) for name, backend in config.backends.items()}
    asked = [backend for backend in loaded.values() if backend.models_path and backend.endpoints()]
    answers = await asyncio.gather(*map(_ask, asked))
    return [
        problem for backend, answer in zip(asked, answers, strict=True) for problem in _judge(config, backend, answer)
    ]


def _judge(config: Config, backend: AnyBackend, answer: set[str] | str) -> Iterator[Problem]:
    """`answer` is the models' names, or why there are none."""
    path = f"backends.{backend.name}"
    if isinstance(answer, str):
        yield Problem(path, f"cannot be asked for its models: {answer}", "warning")
        return
    shown = sorted(answer)[:_SHOWN]
    more = f" and {len(answer) - len(shown)} more" if len(answer) > len(shown) else ""
    yield Problem(path, f"has the models {', '.join(shown)}{more}" if answer else "has no models", "note")
    for name, model in config.models.items():
        theirs = model.name or backend.model_name(name)
        if model.backend == backend.name and "*" not in theirs and "?" not in theirs and theirs not in answer:
            yield Problem(f"models.{name}", f"{backend.name} has no model {theirs!r}", "warning")


async def _ask(backend: AnyBackend) -> set[str] | str:
    """The names of the first endpoint's models, or why they are not known. A redirect is not followed: keys stay."""
    import aiohttp

    url = backend.endpoints()[0].url
    path = url.removeprefix("unix:") if url.startswith("unix:") else None
    tls = make_context(backend.tls) if backend.tls is not None else True
    connector = aiohttp.UnixConnector(path) if path is not None else aiohttp.TCPConnector(ssl=tls)
    address = ("http://localhost" if path is not None else url.rstrip("/")) + backend.models_path
    try:
        async with (
            aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(_PATIENCE)) as session,
            session.get(address, headers=dict(backend.request_headers()), allow_redirects=False) as answer,
        ):
            if answer.status != 200:
                return f"it answers {answer.status}"
            listing = msgspec.json.decode(await answer.read(), type=_Listing)
    except TimeoutError:
        return f"no answer within {_PATIENCE:g} s"
    except (aiohttp.ClientError, OSError) as error:
        return str(error)
    except msgspec.MsgspecError:
        return "its answer is no list of models as OpenAI gives it"
    return {model.id for model in listing.data}
