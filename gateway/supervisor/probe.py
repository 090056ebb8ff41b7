"""Active checks of endpoints: one GET, good or not."""

import ssl
from collections.abc import Mapping

from gateway.backend import Health


class Probe:
    """Asks one endpoint. `url` is an endpoint's: http, https, or unix:/path; `tls` the context for https.

    `headers` are what the server wants of each request, such as our credential.
    """

    def __init__(
        self, url: str, check: Health, tls: ssl.SSLContext | None, headers: Mapping[str, str] | None = None
    ) -> None:
        import aiohttp  # not at the top: it would slow every start down, and most backends have no check

        self._socket = url.removeprefix("unix:") if url.startswith("unix:") else None
        self._url = ("http://localhost" if self._socket else url.rstrip("/")) + check.path
        self._limit = aiohttp.ClientTimeout(total=check.timeout)
        self._tls = tls
        self._headers = headers or {}

    async def is_good(self) -> bool:
        """Whether a 2xx came in time. A connection of its own each time: a kept one would say less."""
        import aiohttp

        connector = aiohttp.UnixConnector(self._socket) if self._socket else aiohttp.TCPConnector(ssl=self._tls or True)
        try:
            async with (
                aiohttp.ClientSession(connector=connector, timeout=self._limit) as session,
                session.get(self._url, headers=self._headers, allow_redirects=False) as answer,
            ):
                return 200 <= answer.status < 300
        except (aiohttp.ClientError, OSError, ValueError):  # TimeoutError is an OSError
            return False
