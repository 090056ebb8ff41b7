"""Changes answers on their way to the client: headers, and members of a JSON object.

    plugins:
      - response_transform:
          headers: {set: {x-served-for: "{consumer}"}, remove: [x-powered-by], rename: {x-trace: x-upstream-trace}}
          json:    {remove: [system_fingerprint], add: {"meta.region": eu}}
          statuses: success

Each takes `remove`, `rename`, `set` and `add` (only what is absent), in that order, with the placeholders that
`request_transform` lists. The status stays as it is. Names that the gateway answers for (framing, X-RateLimit-*,
X-Request-ID, Access-Control-*, …) cannot be changed. JSON is edited where the whole answer is an object of JSON, and no
stream; `statuses: any` edits the server's errors too. What the gateway itself refuses is never touched. With `json` an
answer is held until it is whole, and the server is asked for no compression.
"""

from typing import Literal

from gateway.errors import GatewayError
from gateway.plugin import (
    BasePlugin,
    BaseSettings,
    Exchange,
    JsonEditor,
    Members,
    Reply,
    Texts,
    check_header_names,
    compile_headers,
    header_safe,
)
from gateway.wire import encode_object, forget_bytes, is_json, parse_object

_DEPTH = 512  # of an upstream's answer, whom we trust more than clients
_PLAIN = (None, b"identity")


class Settings(BaseSettings, frozen=True):
    headers: Texts = Texts()
    json: Members = Members()
    statuses: Literal["success", "any"] = "success"

    def __post_init__(self) -> None:
        check_header_names(self.headers, is_request=False)
        compile_headers(self.headers.set | self.headers.add)
        JsonEditor(self.json)


class Plugin(BasePlugin[Settings]):
    place = "shape"

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        headers = settings.headers
        self._removed = frozenset(name.lower().encode() for name in headers.remove)
        self._renamed = {old.lower().encode(): new.lower().encode() for old, new in headers.rename.items()}
        self._set = compile_headers(headers.set)
        self._added = compile_headers(headers.add)
        self._json = JsonEditor(settings.json) if settings.json else None
        self.buffers = self._json is not None

    def access(self, exchange: Exchange) -> None:
        if self._json is not None:
            exchange.replaced[b"accept-encoding"] = None

    def response(self, exchange: Exchange) -> None:
        reply = exchange.reply
        if reply is None:
            return
        if self.settings.headers:
            self._edit_headers(exchange, reply)
        if self._json is not None and (self.settings.statuses == "any" or 200 <= reply.status < 300):
            _edit_body(exchange, reply, self._json)

    def _edit_headers(self, exchange: Exchange, reply: Reply) -> None:
        headers = [(self._renamed.get(name, name), value) for name, value in reply.headers if name not in self._removed]
        for name, template in self._set:
            headers = [field for field in headers if field[0] != name]
            if value := template.fill(exchange, header_safe):
                headers.append((name, value.encode("ascii")))
        for name, template in self._added:
            if all(field[0] != name for field in headers) and (value := template.fill(exchange, header_safe)):
                headers.append((name, value.encode("ascii")))
        reply.headers = headers


def _edit_body(exchange: Exchange, reply: Reply, editor: JsonEditor) -> None:
    if not isinstance(reply.body, bytes) or not reply.body or reply.is_stream or reply.status == 206:
        return
    if not is_json(reply.get(b"content-type")) or reply.get(b"content-encoding") not in _PLAIN:
        return
    try:
        fields = parse_object(reply.body, _DEPTH)
    except GatewayError:
        return  # no object; whether the server may say so is not asked here
    if editor.edit(fields, exchange):
        reply.body = encode_object(fields)
        reply.headers = forget_bytes(reply.headers)
