"""What a request asks of the echo engine beside the echo: the object `echo` of its body. All fields are optional.

| field | meaning |
|---|---|
| `delay` | seconds before the first byte |
| `chunk_delay`, `rate` | seconds between two pieces of a stream, or pieces a second |
| `text` | answer this instead of the echo |
| `chunks`, `size` | answer so many pieces instead of the echo; bytes of each piece |
| `usage` | `none`: leave it out; `zero`: say 0 for everything |
| `fail` | an HTTP status (400 to 599), or one of the words below |
| `after` | pieces to send before a stream fails (default 0: before the head) |

`reset` closes with a RST, `truncate` closes in the middle, `hang` never goes on, `garbage` sends what is not HTTP,
`in_band` sends an error event and ends, `empty` answers without a body, `no_done` leaves out the end mark, `exit` ends
the process.
"""

import re
from typing import Annotated, Literal

import msgspec

Fault = Literal["reset", "truncate", "hang", "garbage", "in_band", "empty", "no_done", "exit"]
_Amount = Annotated[float, msgspec.Meta(ge=0)]
_Count = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]


class Script(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    delay: _Amount = 0.0
    chunk_delay: _Amount = 0.0
    rate: _Amount = 0.0
    text: str = ""
    chunks: _Count | None = None
    size: _Count = 0
    usage: Literal["", "none", "zero"] = ""
    fail: Annotated[int, msgspec.Meta(ge=400, le=599)] | Fault | None = None
    after: _Count = 0

    @property
    def pause(self) -> float:
        """Seconds between two pieces of a stream."""
        return 1 / self.rate if self.rate else self.chunk_delay


def split_answer(text: str, script: Script, limit: int | None) -> tuple[list[str], bool]:
    """The pieces of the answer to `text`, one a word, and whether `limit` tokens (words) cut it."""
    if script.chunks is not None:
        words = [f"{' ' if n else ''}w{n}" for n in range(script.chunks)]
    else:
        words = re.findall(r"\s*\S+", script.text or text)
    pieces = [word.ljust(script.size, ".")[: script.size or None] for word in words]
    return (pieces, False) if limit is None or len(pieces) <= limit else (pieces[:limit], True)


def stop_early(pieces: list[str], stops: list[str]) -> tuple[list[str], int]:
    """The pieces before the first of `stops`, and how many had to be made to see it; all where there is none of it."""
    text = "".join(pieces)
    end = min((at for stop in stops if stop and (at := text.find(stop)) >= 0), default=-1)
    if end < 0:
        return pieces, len(pieces)
    shown, size = list[str](), 0
    for piece in pieces:
        if size + len(piece) > end:
            break
        shown.append(piece)
        size += len(piece)
    made = len(shown) + 1
    return ([*shown, text[size:end]] if end > size else shown), made


def count_tokens(text: str) -> int:
    """Tokens are words here."""
    return len(text.split())
