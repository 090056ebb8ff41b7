"""The client's side of a signed request: copy `authorize` into a program that signs. It needs the standard library.

    value = authorize("partner-a", secret, "POST", "/v1/chat/completions", body=b'{"model": "m"}')
    requests.post(url, data=b'{"model": "m"}', headers={"Authorization": value})

Sign the path and query as they are sent, and the very bytes of the body; each call makes a value for one request.
"""

import hashlib
import hmac
import secrets
import time


def authorize(credential: str, secret: str, method: str, path: str, query: str = "", body: bytes = b"") -> str:
    """The value of `Authorization` for one request, good for the gateway's window from now on."""
    timestamp, nonce = str(time.time_ns() // 1_000_000_000), secrets.token_urlsafe(18)
    content = hashlib.sha256(body).hexdigest()
    signed = "\n".join(("TK1-HMAC-SHA256", method, path, query, timestamp, nonce, content))
    signature = hmac.new(secret.encode(), signed.encode(), "sha256").hexdigest()
    return (
        f"TK1-HMAC-SHA256 credential={credential}, timestamp={timestamp}, nonce={nonce}, content={content}, "
        f"signature={signature}"
    )
