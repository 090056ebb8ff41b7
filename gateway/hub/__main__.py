"""`python -P -m gateway.hub ORG/NAME[:FILE]`: a pull that tells how far it is, a JSON object a line, for control.

`{"file", "size", "there"}` for each file, about twice a second, then `{"path"}` or `{"error"}`.
"""

import sys
import time
from typing import Any

import msgspec

_PAUSE = 0.5  # seconds between two lines on a file


def main(name: str) -> int:
    try:
        from gateway.hub.download import HubFile, Unavailable
        from gateway.hub.pull import pull
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("gateway"):
            raise
        _say(error="the hub's library is missing: pip install 'tollkeeper[hub]'")
        return 1
    told: dict[str, float] = {}

    def tell(file: HubFile, there: int) -> None:
        now = time.monotonic()
        if there == file.size or now - told.get(file.name, 0.0) >= _PAUSE:
            told[file.name] = now
            _say(file=file.name, size=file.size, there=there)

    try:
        _say(path=pull(name, "", tell))
    except Unavailable as error:
        _say(error=str(error))
        return 1
    return 0


def _say(**facts: Any) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(facts) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1]))
