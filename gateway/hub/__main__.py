"""`python -P -m gateway.hub ORG/NAME[:FILE]`: a pull that tells how far it is, a JSON object a line, for control.

`{"file", "size", "there"}` for each file, again each 10 MB (the library's blocks), then `{"path"}` or `{"error"}`.
"""

import sys
from typing import Any

import msgspec


def main(name: str) -> int:
    try:
        from gateway.hub.download import HubFile, Unavailable
        from gateway.hub.pull import pull
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("gateway"):
            raise
        _say(error="the hub's library is missing: pip install 'tollkeeper[hub]'")
        return 1

    def tell(file: HubFile, there: int) -> None:
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
