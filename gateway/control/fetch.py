"""Documents that plugins need from elsewhere, such as a JWKS. Workers never open such connections themselves."""

import asyncio

from gateway.control.outbound import check_url, open_session
from gateway.tasks import spawn

LARGEST = 1_000_000  # bytes
_PATIENCE = 10.0  # seconds for the whole of it
_AT_ONCE = 64  # fetches


class Fetches:
    """Documents on their way: whoever asks for one that is just being fetched waits for the same answer."""

    def __init__(self) -> None:
        self._running: dict[tuple[str, bool], asyncio.Task[bytes | OSError]] = {}

    async def get(self, url: str, allow_private: bool) -> bytes:
        """As `fetch`. Raises OSError too when very many documents are being fetched."""
        key = (url, allow_private)
        task = self._running.get(key)
        if task is None:
            if len(self._running) >= _AT_ONCE:
                raise OSError("too many documents are being fetched")
            task = self._running[key] = spawn(self._fetch(key), "fetch")
        answer = await asyncio.shield(task)
        if isinstance(answer, OSError):
            raise OSError(str(answer))
        return answer

    async def _fetch(self, key: tuple[str, bool]) -> bytes | OSError:
        try:
            return await fetch(*key)
        except OSError as error:
            return error
        finally:
            del self._running[key]


async def fetch(url: str, allow_private: bool = False) -> bytes:
    """The body of a GET that answers 200; redirects are not followed. Raises OSError with a sentence."""
    import aiohttp  # here, because most gateways fetch nothing, and it costs 15 MB

    check_url(url, allow_private)
    try:
        async with open_session(_PATIENCE, allow_private) as session, session.get(url, allow_redirects=False) as answer:
            if answer.status != 200:
                raise OSError(f"{url} answered {answer.status}")
            body = bytearray()
            async for piece in answer.content.iter_any():
                body += piece
                if len(body) > LARGEST:
                    raise OSError(f"{url} sent more than {LARGEST} bytes")
            return bytes(body)
    except TimeoutError:
        raise OSError(f"{url} did not answer within {_PATIENCE:.0f} s") from None
    except (aiohttp.ClientError, ValueError) as error:
        raise OSError(f"{url} cannot be fetched: {error}") from None
