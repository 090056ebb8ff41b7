"""Changes what goes on to the model server: headers, query, and members of a JSON body.

    plugins:
      - request_transform:
          headers: {set: {x-customer: "{consumer}/{project}"}, remove: [x-debug]}
          query:   {add: {api-version: "2026-01-01"}}
          json:    {set: {user: "{consumer}", "metadata.tier": "{tier}"}, rename: {max_new_tokens: max_tokens}}

Each takes `remove`, `rename`, `set` and `add` (only what is absent), which happen in that order. Texts may hold
{consumer}, {credential}, {project}, {role}, {tier}, {request_id}, {route}, {model} and {peer}, and nothing is ever
evaluated; `{{` and `}}` are braces. A header whose value comes out empty is not sent, not even as the client sent it.
Headers that frame, that carry secrets or that say who is calling belong to the gateway, and so do `model` and `stream`
of the body. JSON paths go through objects (`a.b`), and leave alone what is none. A body that is not JSON passes as it
is, on routes to models it always is JSON. What is said of a value for headers is encoded: percent signs for what is
not visible ASCII.

Put it after everything that says who is calling. After `validate` it has the last word, before it its edits are judged
as if they were the client's: there belongs a `rename` of what clients send.
"""

from urllib.parse import quote, unquote_plus

from gateway.plugin import (
    BasePlugin,
    BaseSettings,
    Exchange,
    JsonEditor,
    Members,
    Template,
    Texts,
    check_header_names,
    compile_headers,
    header_safe,
)
from gateway.wire import encode_object, is_json, parse_object

_RESERVED = frozenset(("model", "stream", "stream_options"))
_DEPTH = 64


class Settings(BaseSettings, frozen=True):
    headers: Texts = Texts()
    query: Texts = Texts()
    json: Members = Members()

    def __post_init__(self) -> None:
        check_header_names(self.headers, is_request=True)
        compile_headers(self.headers.set | self.headers.add)
        JsonEditor(self.json, _RESERVED)
        for text in (*self.query.set.values(), *self.query.add.values()):
            Template(text)


class Plugin(BasePlugin[Settings]):
    place = "shape"

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        headers = settings.headers
        self._removed = [name.lower().encode() for name in headers.remove]
        self._renamed = [(old.lower().encode(), new.lower().encode()) for old, new in headers.rename.items()]
        self._set = compile_headers(headers.set)
        self._added = compile_headers(headers.add)
        self._query_set = [(name, Template(text)) for name, text in settings.query.set.items()]
        self._query_added = [(name, Template(text)) for name, text in settings.query.add.items()]
        self._json = JsonEditor(settings.json, _RESERVED) if settings.json else None
        if self._json is not None:
            self.needs = "body"
        elif any("model" in template.names for _, template in self._templates()):
            self.needs = "model"

    def _templates(self) -> list[tuple[bytes | str, Template]]:
        return [*self._set, *self._added, *self._query_set, *self._query_added]

    def access(self, exchange: Exchange) -> None:
        if self.settings.headers:
            self._edit_headers(exchange)
        if self.settings.query:
            self._edit_query(exchange)
        if self._json is not None:
            self._edit_body(exchange, self._json)

    def _edit_headers(self, exchange: Exchange) -> None:
        replaced = exchange.replaced
        for name in self._removed:
            replaced[name] = None
        for old, new in self._renamed:
            value = _header(exchange, old)
            if value is not None:
                replaced[old], replaced[new] = None, value
        for name, template in self._set:
            replaced[name] = template.fill(exchange, header_safe).encode("ascii") or None
        for name, template in self._added:
            if _header(exchange, name) is None:
                replaced[name] = template.fill(exchange, header_safe).encode("ascii") or None

    def _edit_query(self, exchange: Exchange) -> None:
        query = exchange.query if exchange.forwarded_query is None else exchange.forwarded_query
        edits = self.settings.query
        pairs = [(unquote_plus(part.partition("=")[0]), part) for part in query.split("&") if part]
        dropped = {*edits.remove, *edits.set}
        kept: list[tuple[str, str]] = []
        for name, part in pairs:
            new = edits.rename.get(name)
            if new is not None and name not in edits.remove:
                _, equals, value = part.partition("=")
                name, part = new, f"{quote(new, safe='')}{equals}{value}"
            if name not in dropped:
                kept.append((name, part))
        names = {name for name, _ in kept}
        added = [pair for pair in self._query_added if pair[0] not in names and pair[0] not in edits.set]
        parts = [part for _, part in kept]
        for name, template in self._query_set + added:
            parts.append(f"{quote(name, safe='')}={quote(template.fill(exchange), safe='', errors='surrogatepass')}")
        exchange.forwarded_query = "&".join(parts)

    def _edit_body(self, exchange: Exchange, editor: JsonEditor) -> None:
        if exchange.fields is not None:
            if editor.edit(exchange.fields, exchange):
                exchange.body = None  # it is encoded again
            return
        body = exchange.body
        if not body or not is_json(exchange.head.get(b"content-type")) or body.lstrip()[:1] != b"{":
            return
        fields = parse_object(body, _DEPTH)
        if editor.edit(fields, exchange):
            exchange.body = encode_object(fields)


def _header(exchange: Exchange, name: bytes) -> bytes | None:
    """A header as it would go on now; several of one name as one (RFC 9110, 5.3)."""
    if name in exchange.replaced:
        return exchange.replaced[name]
    values = exchange.head.get_all(name)
    return b", ".join(values) if values else None
