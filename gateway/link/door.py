"""The client door: what workers and control agree on, for requests to control's API. Names alone, no code of either.

Workers let them through the gate as any other request and send them to control's socket. Control believes what stands
in the headers below because the token says who sends it; a client's own headers of these names never get that far.
"""

import msgspec

NAME = "control"  # of the backend behind it; no backend of the file may have it
TOKEN = "X-Tollkeeper-Token"
PERMISSIONS = "X-Tollkeeper-Permissions"  # patterns, with commas; not sent where no plugin authorizes
ERROR = "X-Error-Number"  # control's to the worker: the answer is this error of the catalogue

PATHS = (
    "/api/v1/traces/*", "/api/v1/analytics/*", "/api/v1/metrics/*", "/api/v1/models/*", "/api/v1/export/*",
    "/api/v1/usage/*", "/api/v1/audit",
)  # fmt: skip
OPEN_PATHS = ("/openapi.json",)  # nobody need be known
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE")


class Door(msgspec.Struct, frozen=True):
    """Where the door is, and the token of this boot; empty where nobody goes through it, as in a rehearsal."""

    socket: str = "/"
    token: str = ""
