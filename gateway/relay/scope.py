"""What a credential may at all, whatever the plugins say: routes, methods, addresses, projects, models.

These are the core's own steps in a chain. The identity step stands behind the last plugin that authenticates, the
model step behind that and the body: before anything is charged, and before a cache could answer.
"""

from functools import lru_cache

from gateway.errors import GatewayError
from gateway.exchange import Credential, Exchange
from gateway.networks import Networks
from gateway.relay.registry import is_of_project, may_use_model, may_use_route

_KEPT = 1024  # compiled lists of networks

_compile = lru_cache(_KEPT)(Networks)


def require_identity(exchange: Exchange) -> None:
    """Somebody is known, and may use this route. Raises GatewayError 1001, 1102, 1105, 1106, 1107."""
    credential = exchange.credential
    if credential is None:
        raise GatewayError(1001, headers={"WWW-Authenticate": "Bearer"})
    if credential.is_scoped or exchange.projects:
        _check_scope(exchange, credential)


def check_identity(exchange: Exchange) -> None:
    """If somebody is known, he may use this route; if nobody is, the route is nobody's own."""
    credential = exchange.credential
    if credential is not None:
        _check_scope(exchange, credential)
    elif exchange.projects:
        raise _refuse_project(exchange, f"route:{exchange.route}", "This route belongs to projects; send a key of one.")


def check_model(exchange: Exchange) -> None:
    """The model asked for is one that the caller may use. Raises GatewayError 1101, 1105."""
    entry, credential = exchange.entry, exchange.credential
    if entry is None:
        return
    if credential is not None and credential.is_scoped and not may_use_model(credential, entry.name):
        exchange.rule = "scope:models"
        raise GatewayError(
            1101, f"The key may not use the model {exchange.model_asked!r}. GET /v1/models lists what it may use.",
            param="model", details={"rule": exchange.rule, "model": exchange.model_asked},
        )  # fmt: skip
    if entry.projects and not is_of_project(credential, entry.projects):
        text = f"The model {exchange.model_asked!r} belongs to other projects. GET /v1/models lists what you may use."
        raise _refuse_project(exchange, f"model:{entry.label}", text, "model")


def _check_scope(exchange: Exchange, credential: Credential) -> None:
    if credential.addresses and not _compile(credential.addresses).hold(exchange.peer):
        exchange.rule = "scope:addresses"
        raise GatewayError(
            1106, f"{credential.consumer} may not call from {exchange.peer or 'a unix socket'}. Ask the operator to "
            "add the address to the consumer.", details={"rule": exchange.rule, "address": exchange.peer},
        )  # fmt: skip
    if not may_use_route(credential, exchange.path):
        exchange.rule = "scope:routes"
        raise GatewayError(1102, f"The key may not use {exchange.path[:200]}.", details={"rule": exchange.rule})
    if credential.methods and exchange.method not in credential.methods:
        exchange.rule = "scope:methods"
        allowed = ", ".join(credential.methods)
        raise GatewayError(
            1107, f"The key may not {exchange.method} anything; its methods are {allowed}.",
            details={"rule": exchange.rule, "methods": list(credential.methods)},
        )  # fmt: skip
    if not is_of_project(credential, exchange.projects):
        text = f"This route belongs to other projects than {credential.project or 'none'}; use a key of one of them."
        raise _refuse_project(exchange, f"route:{exchange.route}", text)


def _refuse_project(exchange: Exchange, subject: str, text: str, param: str | None = None) -> GatewayError:
    exchange.rule = f"{subject}:projects"
    project = exchange.credential.project if exchange.credential is not None else ""
    return GatewayError(1105, text, param=param, details={"rule": exchange.rule, "project": project})
