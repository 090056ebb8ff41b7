"""Listeners and their certificates."""

import os
from collections.abc import Iterator

from gateway.settings.address import Address, parse_address
from gateway.settings.problem import Problem, join
from gateway.settings.schema import Certificate, Config


def check_addresses(config: Config) -> Iterator[Problem]:
    """Addresses parse and do not collide, `demo` stays on this machine, certificates fit their keys."""
    written = [(f"listen.proxy[{at}].address", listener.address) for at, listener in enumerate(config.listen.proxy)]
    taken: list[tuple[str, Address]] = []
    written.append(("listen.status", config.listen.status))
    if config.listen.admin:
        written.append(("listen.admin", config.listen.admin))
    for path, text in written:
        try:
            address = parse_address(text)
        except ValueError as error:
            yield Problem(path, str(error))
            continue
        for other_path, other in taken:
            if address.overlaps(other):
                yield Problem(path, f"{address} is already taken by {other_path} ({other})")
        taken.append((path, address))
        if config.demo and not address.is_local:
            yield Problem(path, f"{address} is open to others, and `demo: true` hands out keys; use 127.0.0.1")
    if not config.listen.proxy:
        yield Problem("listen.proxy", "must name at least one address")
    for at, listener in enumerate(config.listen.proxy):
        for number, certificate in enumerate(listener.certificates):
            yield from _certificate(certificate, join(f"listen.proxy[{at}].certificates", number))


def _certificate(certificate: Certificate, path: str) -> Iterator[Problem]:
    missing = [
        Problem(f"{path}.{field}", f"the file {name} cannot be read; check that it exists and its permissions")
        for field, name in (("cert", certificate.cert), ("key", certificate.key))
        if not os.access(name, os.R_OK)
    ]
    yield from missing
    if missing:
        return
    import ssl  # 20 ms that a gateway without TLS does not need

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate.cert, certificate.key, password=_refuse_password)
    except (ssl.SSLError, OSError, ValueError) as error:
        reason = "they do not belong together" if "MISMATCH" in str(error) else str(error)
        yield Problem(path, f"{certificate.cert} and {certificate.key} cannot be used: {reason}")


def _refuse_password() -> str:
    raise ValueError("the key is encrypted; store it without a passphrase")
