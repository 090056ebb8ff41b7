"""The admin address's gate: who may come in. Nothing of the proxy's keys and roles counts here.

A web page of elsewhere must not get in with the operator's browser: a name that was made to mean this address (DNS
rebinding) is refused by the Host header, a page of another origin by the Origin header.
"""

import hashlib
import hmac
import ipaddress
import logging
import math
import re
from collections.abc import Callable

from aiohttp import web

from gateway.control.api.call import Caller
from gateway.errors import GatewayError
from gateway.settings.schema import Admin

_WINDOW = 60.0  # seconds
_FAILURES = 10  # within them, of one address, before it is refused for the rest of them
_REMEMBERED = 1024  # addresses

_find_host = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\[\]:]+))(?::\d{1,5})?").fullmatch
_log = logging.getLogger("tollkeeper.control")


class Gate:
    """`admin` is the configuration's, as it was last read; `clock` is monotonic seconds."""

    def __init__(self, admin: Callable[[], Admin], clock: Callable[[], float]) -> None:
        self._admin = admin
        self._clock = clock
        self._failures: dict[str, tuple[float, int]] = {}  # when the window began, and how many

    def __call__(self, request: web.Request, request_id: str) -> Caller:
        """Raises GatewayError 1001, 1002, 1103, 1202, 1508."""
        self._check_site(request)
        address = request.remote or "unix"
        self._check_failures(address)
        self._check_key(request, address)
        return Caller(consumer="admin", request_id=request_id, is_admin=True, address=address)

    def _check_site(self, request: web.Request) -> None:
        headers = request.headers
        if len(headers.getall("Host", [])) != 1 or not self._is_ours(headers["Host"]):
            text = "The Host header names another site. Use the IP address, localhost, or a name of `admin.hosts`."
            raise GatewayError(1202, text)
        origin = headers.get("Origin")
        if origin is not None and origin.partition("://")[2].lower() != headers["Host"].lower():
            raise GatewayError(1103, "A web page of another origin may not use the admin address.")

    def _is_ours(self, host: str) -> bool:
        match = _find_host(host)
        if match is None:
            return False
        name = (match[1] or match[2]).lower()
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return name == "localhost" or name in self._admin().hosts
        return True

    def _check_failures(self, address: str) -> None:
        began, count = self._failures.get(address, (0.0, 0))
        left = began + _WINDOW - self._clock()
        if count >= _FAILURES and left > 0:
            raise GatewayError(1508, headers={"Retry-After": str(math.ceil(left))}, details={"address": address})

    def _check_key(self, request: web.Request, address: str) -> None:
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        if not key:
            raise GatewayError(1001, headers={"WWW-Authenticate": "Bearer"})
        shown = hashlib.sha256(key.strip().encode("utf-8", "surrogateescape")).hexdigest()
        if scheme.lower() != "bearer" or not hmac.compare_digest(shown, self._admin().sha256):
            self._note_failure(address, request.path)
            raise GatewayError(1002, "This is not the admin key.", headers={"WWW-Authenticate": "Bearer"})

    def _note_failure(self, address: str, path: str) -> None:
        now = self._clock()
        began, count = self._failures.pop(address, (now, 0))
        if now - began >= _WINDOW:
            began, count = now, 0
        if len(self._failures) >= _REMEMBERED:
            self._failures.pop(next(iter(self._failures)))
        self._failures[address] = began, count + 1
        _log.warning("a wrong admin key from %s for %s (%d within a minute)", address, path[:200], count + 1)
