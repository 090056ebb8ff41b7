"""Documents that plugins need from elsewhere, such as a JWKS. Workers never open such connections themselves."""

LARGEST = 1_000_000  # bytes
_PATIENCE = 10.0  # seconds for the whole of it


async def fetch(url: str) -> bytes:
    """The body of a GET that answers 200; redirects are not followed. Raises OSError with a sentence."""
    import aiohttp  # here, because most gateways fetch nothing, and it costs 15 MB

    try:
        timeout = aiohttp.ClientTimeout(total=_PATIENCE)
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url, allow_redirects=False) as answer:
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
