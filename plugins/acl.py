"""Whether the caller's role may do what the route is for.

    roles:
      viewer:    {tier: {rate: 1000/min}, may: [traces:read]}
      developer: {tier: pro, may: [infer, "models:*"], inherits: [viewer]}
    plugins:
      - key_auth: {}
      - acl: {}
    routes:
      - {path: /v1/chat/completions}                              # permission: infer, where none is named
      - {path: /reports/*, to: reports, permission: usage:read}

It stands behind the plugins that authenticate. A role holds permissions and patterns of them: `traces:*` holds
`traces:read`, `*` holds all. A caller without a role has what `unassigned` says; where a route's `auth` is optional,
one who is not known has what `anonymous` says. The permissions of a token (its scopes) narrow what the role holds and
never widen it. Who lacks the permission is refused (1104), and so is a role that the configuration does not have.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from gateway.errors import GatewayError
from gateway.plugin import BasePlugin, BaseSettings, Credential, Exchange, Services

_REMEMBERED = 4096  # verdicts


class Settings(BaseSettings, frozen=True):
    unassigned: tuple[str, ...] = ("infer",)
    anonymous: tuple[str, ...] = ("infer",)


class Plugin(BasePlugin[Settings]):
    authorizes = True

    async def start(self, services: Services) -> None:
        self._roles = services.roles
        self._may = lru_cache(_REMEMBERED)(self._decide)

    def access(self, exchange: Exchange) -> None:
        permission = exchange.permission
        if not permission:
            return
        credential = exchange.credential
        if credential is None:
            if not _holds(self.settings.anonymous, permission):
                raise _refuse(exchange, "anonymous", "A caller who is not known")
        elif not self._may(credential.role, credential.permissions, permission):
            raise self._explain(exchange, credential)

    async def describe(self, exchange: Exchange) -> Mapping[str, Any]:
        credential = exchange.credential
        if credential is None:
            return {"permissions": list(self.settings.anonymous)}
        held, narrowed = self._held(credential.role), credential.permissions
        if not narrowed:
            return {"permissions": list(held)}
        both = [may for may in held if _holds(narrowed, may)] + [may for may in narrowed if _holds(held, may)]
        return {"permissions": list(dict.fromkeys(both))}

    def _decide(self, role: str, narrowed: tuple[str, ...], permission: str) -> bool:
        return _holds(self._held(role), permission) and (not narrowed or _holds(narrowed, permission))

    def _held(self, role: str) -> tuple[str, ...]:
        if not role:
            return self.settings.unassigned
        found = self._roles.get(role)
        return () if found is None else found.may

    def _explain(self, exchange: Exchange, credential: Credential) -> GatewayError:
        role = credential.role
        if role and role not in self._roles:
            return _refuse(exchange, "unknown_role", f"The role {role[:64]!r}, which is not configured here,")
        if _holds(self._held(role), exchange.permission):
            return _refuse(exchange, "narrowed", "This credential, narrower than its role,")
        return _refuse(
            exchange,
            f"role:{role}" if role else "unassigned",
            f"The role {role!r}" if role else "A caller without a role",
        )


def _holds(patterns: tuple[str, ...], permission: str) -> bool:
    return any(
        pattern in ("*", permission) or (pattern.endswith(":*") and permission.startswith(pattern[:-1]))
        for pattern in patterns
    )


def _refuse(exchange: Exchange, subject: str, who: str) -> GatewayError:
    permission, credential = exchange.permission, exchange.credential
    exchange.rule = f"acl:{subject}"
    cure = f"a role that holds {permission}"
    details = {
        "rule": exchange.rule, "permission": permission, "role": credential.role if credential else "", "help": cure,
    }  # fmt: skip
    text = f"{who} may not do what this route is for: it asks for {permission}. Ask the operator for {cure}."
    return GatewayError(1104, text, details=details)
