"""TLS on both sides: certificates chosen by name and renewed without a restart; authorities and client certificates."""

import logging
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from gateway.http.deadline import NEVER

_log = logging.getLogger("tollkeeper.http")

TLS_FAREWELL = 2.0  # seconds a closing connection waits for the other side's close_notify


@dataclass(frozen=True, slots=True)
class CertificateFile:
    """PEM files of a certificate chain and its key, and the names it serves: exact, or `*.example.org`."""

    cert: Path
    key: Path
    names: tuple[str, ...] = ()


class Trust(Protocol):
    """Whom a client trusts, and what it shows: names of PEM files, empty for none."""

    @property
    def ca(self) -> str: ...
    @property
    def cert(self) -> str: ...
    @property
    def key(self) -> str: ...
    @property
    def verify(self) -> bool: ...


class ServerContext(ssl.SSLContext):
    """A server's context that picks a certificate by SNI; the first one serves everybody else.

    TLS 1.2 or newer, http/1.1 by ALPN. Create it with `server_context`.
    """

    _files: Sequence[CertificateFile]
    _contexts: dict[str, ssl.SSLContext]
    _stamps: dict[CertificateFile, tuple[int, int]]

    def load(self, files: Sequence[CertificateFile]) -> None:
        """Raises OSError or ssl.SSLError, naming the file, if a pair cannot be used."""
        self._files = files
        self._contexts = {}
        self._stamps = {}
        for file in files:
            self._stamps[file] = _stamp(file)
            self._install(file, _leaf_context(file))
        self.load_cert_chain(files[0].cert, files[0].key)
        self.sni_callback = self._choose

    def reload_if_changed(self) -> bool:
        """Use certificates whose files changed for new handshakes; a broken new pair is logged, the old one stays."""
        has_changed = False
        for file in self._files:
            try:
                stamp = _stamp(file)
                if stamp == self._stamps[file]:
                    continue
                self._stamps[file] = stamp
                self._install(file, _leaf_context(file))
                has_changed = True
            except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
                _log.error("certificate %s is not reloaded: %s", file.cert, error)
        return has_changed

    def _install(self, file: CertificateFile, context: ssl.SSLContext) -> None:
        if file is self._files[0]:
            self._contexts[""] = context
        for name in file.names:
            self._contexts[name.lower()] = context

    def _choose(self, connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        connection.context = self.context_for(name or "")

    def context_for(self, name: str) -> ssl.SSLContext:
        """Exact name, then the wildcard of its parent, then the first certificate."""
        name = name.lower()
        wildcard = "*." + name.partition(".")[2]
        return self._contexts.get(name) or self._contexts.get(wildcard) or self._contexts[""]


class Renewal:
    """Looks at the files of certificates now and then. An item of the sweeper."""

    def __init__(self, contexts: Sequence[ServerContext], every: float = 10.0) -> None:
        self._contexts = contexts
        self._every = every  # seconds
        self.deadline = time.monotonic() + every if contexts else NEVER

    def expire(self) -> None:
        self.deadline = time.monotonic() + self._every
        for context in self._contexts:
            context.reload_if_changed()


def server_context(certificates: Sequence[CertificateFile]) -> ServerContext:
    """The context of a listener. Needs at least one certificate; raises OSError or ssl.SSLError if one is unusable."""
    context = ServerContext(ssl.PROTOCOL_TLS_SERVER)
    _harden(context)
    context.load(certificates)
    return context


def make_context(trust: Trust) -> ssl.SSLContext:
    """The context of a client by the names of its files. Raises OSError or ssl.SSLError if one is unusable."""
    ca, cert, key = (Path(file) if file else None for file in (trust.ca, trust.cert, trust.key))
    return client_context(ca, cert, key, trust.verify)


def client_context(
    ca: Path | None = None, cert: Path | None = None, key: Path | None = None, verify: bool = True
) -> ssl.SSLContext:
    """The context for an upstream: authorities from `ca` (else the system's), and a client certificate if given."""
    context = ssl.create_default_context(cafile=ca)
    _harden(context)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if cert is not None:
        context.load_cert_chain(cert, key)
    return context


def _leaf_context(file: CertificateFile) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _harden(context)
    context.load_cert_chain(file.cert, file.key)
    return context


def _harden(context: ssl.SSLContext) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])


def _stamp(file: CertificateFile) -> tuple[int, int]:
    return file.cert.stat().st_mtime_ns, file.key.stat().st_mtime_ns
