"""The admin address's own credential: the file's, or one that is made at the first start and kept beside the state."""

import os
from contextlib import suppress

from msgspec.structs import replace

from gateway.settings.key import digest, make_key
from gateway.settings.schema import Config
from gateway.settings.state import admin_key_file, write_private


def hash_admin_key(config: Config) -> Config:
    """`config` with the SHA-256 of the key in place of the key; one is made where there is none and somebody may ask.

    Raises OSError when it cannot be kept.
    """
    admin = config.admin
    if not config.listen.admin or admin.sha256:
        return config
    return replace(config, admin=replace(admin, key="", sha256=digest(admin.key or _keep(config)).hex()))


def _keep(config: Config) -> str:
    directory = os.path.abspath(config.state.directory)
    path = admin_key_file(directory)
    with suppress(FileNotFoundError), open(path, encoding="ascii") as file:
        if key := file.read().strip():
            return key
    os.makedirs(directory, mode=0o700, exist_ok=True)
    key = make_key()
    write_private(path, f"{key}\n")
    return key
