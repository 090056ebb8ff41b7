"""Load from wrk: POSTs of a chat completion over 32 connections, with one key or many in turn."""

import re
import subprocess
from typing import NamedTuple

from tests.bench.place import KEY, LOAD_CORE, MODEL, WORK

_TEXT = "Say hello to the world, please. Be brief and kind in it."
BODY = (  # 183 bytes
    f'{{"model":"{MODEL}","messages":[{{"role":"system","content":"You are helpful."}},'
    f'{{"role":"user","content":"{_TEXT}"}}],"stream":false}}'
)
_SCRIPT = """
local body = %r
local requests, turn = {}, 0
function init(args)
  for n = 1, %d do
    local key = %d == 1 and "%s" or string.format("%s-%%06d", n)
    local headers = {["Authorization"] = "Bearer " .. key, ["Content-Type"] = "application/json"}
    requests[n] = wrk.format("POST", "%s", headers, body)
  end
end
function request()
  turn = turn %% #requests + 1
  return requests[turn]
end
function done(summary, latency, requests)
  local failed = summary.errors
  local broken = failed.connect + failed.read + failed.write + failed.timeout
  io.write(string.format("RESULT %%d %%d %%d %%d\\n", summary.requests, summary.duration, failed.status, broken))
end
"""


class Load(NamedTuple):
    """What one run did. `refused` counts answers other than 2xx and 3xx, `broken` connections that failed."""

    requests: int
    seconds: float
    refused: int
    broken: int

    @property
    def rate(self) -> float:
        return self.requests / self.seconds


def key_of(number: int) -> str:
    """The key of the number-th of many consumers, counted from 1."""
    return f"{KEY}-{number:06d}"


def drive(port: int, seconds: float, keys: int = 1, links: int = 32, token: str = KEY) -> Load:
    """Run wrk on the load core; one key is sent as `token`. Raises RuntimeError where nothing was answered."""
    script = WORK / f"load-{keys}.lua"
    script.write_text(_SCRIPT % (BODY, keys, keys, token, KEY, "/v1/chat/completions"))
    command = ["taskset", "-c", str(LOAD_CORE), "wrk", "-t1", f"-c{links}", f"-d{seconds:g}s", "-s", str(script)]
    shown = subprocess.run([*command, f"http://127.0.0.1:{port}"], capture_output=True, text=True, check=False)
    match = re.search(r"RESULT (\d+) (\d+) (\d+) (\d+)", shown.stdout)
    if match is None or match[1] == "0":
        raise RuntimeError(f"wrk: {shown.stdout}{shown.stderr}")
    answered, microseconds, refused, broken = map(int, match.groups())
    return Load(answered, microseconds / 1e6, refused, broken)
