"""Who may what, over whole processes: keys that their holders renew, guesses, addresses that proxies tell."""

import asyncio
import contextlib
import http.client
import json
import socket
import sqlite3
import time
from collections import Counter
from pathlib import Path
from typing import Any

from gateway.settings.state import store_file
from tests.harness import Gateway, config, eventually, running_gateway
from tests.load import Client, Cut, chat
from tests.process.test_keys import run

WRONG = "tk_000000000000_wrong"


def call(gateway: Gateway, method: str, path: str, key: str = "", body: str | None = None, **fields: str) -> Any:
    """One request on a connection of its own: status, the body as JSON."""
    link = http.client.HTTPConnection(*gateway.address, timeout=10)
    with contextlib.closing(link):
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        link.request(method, path, body, {**headers, **{name.replace("_", "-"): fields[name] for name in fields}})
        answer = link.getresponse()
        return answer.status, json.loads(answer.read() or b"null")


async def test_a_holder_renews_his_key() -> None:
    document = config(roles={"developer": {"tier": "open", "may": ["infer"]}}, plugins=["key_auth", "acl", "quota"])
    with running_gateway(document, workers=2) as gateway:
        key = await run(gateway, "key", "new", "--consumer", "bob", "--role", "developer")
        status, told = call(gateway, "GET", "/api/v1/me", key)
        assert (status, told["data"]["consumer"], told["data"]["role"], told["data"]["tier"]) == (
            200, "bob", "developer", "open",
        )  # fmt: skip
        assert told["data"]["permissions"] == ["infer"]

        status, told = call(gateway, "POST", "/api/v1/me/keys/rotate", key, '{"overlap": 60}')
        new = told["data"]["key"]
        assert (status, told["data"]["replaces"]) == (201, key.split("_")[1])
        assert {call(gateway, "GET", "/api/v1/me", one)[0] for one in (key, new)} == {200}, "both for the overlap"
        status, told = call(gateway, "POST", "/api/v1/me/keys/rotate", key)
        assert (status, told["error"]["number"]) == (409, 1401), "an old key has its successor already"

        status, told = call(gateway, "POST", "/api/v1/me/keys/rotate", new)
        assert status == 201
        newest = told["data"]["key"]
        eventually(lambda: call(gateway, "GET", "/api/v1/me", new)[0] == 401, within=1)
        assert call(gateway, "GET", "/api/v1/me", newest)[0] == 200
        status, told = call(gateway, "POST", "/api/v1/me/keys/rotate", gateway.key("open"))
        assert (status, told["error"]["number"]) == (409, 1401), "keys of the file are the file's"
        listed = await run(gateway, "key", "list", "--consumer", "bob")
        assert not any(secret.split("_")[2] in listed for secret in (key, new, newest))
        eventually(lambda: _last_uses(gateway) == 3, what="the last use of each key")


def _last_uses(gateway: Gateway) -> int:
    return int(gateway.query("SELECT count(*) AS n FROM keys WHERE last_used > 0")[0]["n"])


async def test_keys_cannot_be_renewed_while_the_store_is_locked() -> None:
    with running_gateway(config()) as gateway:
        key = await run(gateway, "key", "new", "--consumer", "bob", "--tier", "open")
        assert call(gateway, "GET", "/api/v1/me", key)[0] == 200
        # a store that is locked by somebody else takes no change, and reads go on
        with contextlib.closing(sqlite3.connect(store_file(str(gateway.state)), isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            status, told = await asyncio.to_thread(call, gateway, "POST", "/api/v1/me/keys/rotate", key)
            assert (status, told["error"]["number"]) == (503, 1604)
            other.execute("ROLLBACK")
        assert call(gateway, "POST", "/api/v1/me/keys/rotate", key)[0] == 201


async def test_s06_a_revoked_key_under_load() -> None:
    """Thirty connections on two workers: nobody is served a second after the command has ended."""
    with running_gateway(config(), workers=2) as gateway:
        key = await run(gateway, "key", "new", "--consumer", "bob", "--tier", "open")
        good = gateway.key("open")
        last: list[float] = [0.0]
        statuses: Counter[int] = Counter()
        is_over = False

        async def load(key: str) -> None:
            client = Client(gateway.address, key)
            while not is_over:
                with contextlib.suppress(Cut):
                    answer = await client.ask(chat())
                    statuses[answer.status] += 1
                    if answer.status == 200 and key != good:
                        last[0] = max(last[0], answer.sent)
            client.close()

        clients = [asyncio.create_task(load(one)) for one in [key] * 20 + [good] * 10]
        await asyncio.sleep(1.0)
        await run(gateway, "key", "revoke", key.split("_")[1])
        told = time.monotonic()
        await asyncio.sleep(1.5)
        is_over = True
        await asyncio.gather(*clients)
        assert statuses[200] > 100 and statuses[401] > 100
        print(f"the last request that was served began {last[0] - told:+.3f} s after the command; {dict(statuses)}")
        assert last[0] - told < 1.4


async def test_s09_guesses_are_counted_over_all_workers() -> None:
    with running_gateway(config(limits={"failed_logins": "20/day"}), workers=2) as gateway:
        numbers: Counter[int] = Counter()
        for _ in range(300):
            _, told = call(gateway, "GET", "/v1/models", WRONG)
            numbers[told["error"]["number"]] += 1
        assert set(numbers) == {1002, 1508}
        assert 20 <= numbers[1002] <= 22, "each worker may learn it by one try more"
        status, told = call(gateway, "GET", "/v1/models", gateway.key("open"))
        assert (status, told["error"]["number"]) == (429, 1508)
        assert call(gateway, "GET", "/errors/1508")[0] == 200
        series = 'tollkeeper_rejected_total{reason="too_many_failed_logins",rule="failed_logins"}'
        eventually(lambda: gateway.metrics().get(series, 0.0) >= 279.0, what=series)


async def test_s27_clients_behind_a_proxy_have_addresses_of_their_own() -> None:
    listen = {"trusted": ["127.0.0.0/8"]}
    plugins = [{"ip_restriction": {"deny": ["203.0.113.0/24"]}}, "key_auth"]
    document = config(listen=listen, plugins=plugins, limits={"failed_logins": "3/day"})
    with running_gateway(document) as gateway:
        key = gateway.key("open")
        for _ in range(5):
            call(gateway, "GET", "/v1/models", WRONG, X_Forwarded_For="198.51.100.1")
        for address, number in (
            ("198.51.100.1", 1508), ("198.51.100.2", 0), ("203.0.113.9, 198.51.100.2", 0), ("203.0.113.9", 1106),
        ):  # fmt: skip
            _, told = call(gateway, "GET", "/v1/models", key, X_Forwarded_For=address)
            assert told.get("error", {}).get("number", 0) == number, address


async def test_a_proxy_tells_the_client_in_a_header_of_its_own(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    unix = tmp_path / "gate.sock"
    listen = {
        "proxy": [f"127.0.0.1:{port}", {"address": f"unix:{unix}", "proxy_protocol": True}],
    }  # fmt: skip
    document = config(listen=listen, plugins=[{"ip_restriction": {"deny": ["203.0.113.0/24"]}}, "key_auth"])
    with running_gateway(document) as gateway:
        for client, number in (("198.51.100.7", 0), ("203.0.113.9", 1106)):
            answer = await asyncio.to_thread(_over_unix, unix, gateway.key("open"), client)
            assert (f"x-tollkeeper-error: {number}" in answer.lower()) is bool(number)
            assert answer.startswith("HTTP/1.1 403" if number else "HTTP/1.1 200")
        eventually(lambda: {row["peer"] for row in gateway.rows()} == {"198.51.100.7", "203.0.113.9"})


def _over_unix(path: Path, key: str, client: str) -> str:
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(5)
        link.connect(str(path))
        request = f"GET /v1/models HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {key}\r\nConnection: close\r\n\r\n"
        link.sendall(f"PROXY TCP4 {client} 10.0.0.1 5000 443\r\n{request}".encode())
        answer = b""
        while piece := link.recv(65_536):
            answer += piece
        return answer.decode("latin-1")


async def test_s54_s56_no_secret_is_written_down_and_no_admin_stands_at_the_door() -> None:
    """Keys, good, bad and new, are in no file of the state directory and no line of the log."""
    with running_gateway(config(log={"requests": True})) as gateway:
        key = await run(gateway, "key", "new", "--consumer", "bob", "--tier", "open")
        canary = "canary-of-a-wrong-key-0001"
        for place in ("Authorization", "x-api-key", "api-key"):
            call(gateway, "GET", "/v1/models", **{place: f"Bearer {canary}" if place == "Authorization" else canary})
        call(gateway, "GET", f"/v1/models?api_key={canary}", key)
        _, told = call(gateway, "POST", "/api/v1/me/keys/rotate", key)
        eventually(lambda: len(gateway.rows()) >= 5)
        for path in ("/admin", "/admin/keys", "/api/v1/keys", "/api/v1/consumers", "/metrics", "/health", "/ready"):
            assert call(gateway, "GET", path, told["data"]["key"])[1]["error"]["number"] == 1301, path
        texts = [gateway.log.encode(), (gateway.folder / "out.txt").read_bytes()]
        texts += [path.read_bytes() for path in gateway.state.rglob("*") if path.is_file() and "demo" not in path.name]
        for secret in (canary, key, told["data"]["key"]):
            shown = [text for text in texts if secret.encode() in text]
            assert not shown, secret[:12]
