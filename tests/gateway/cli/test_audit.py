"""The audit log of a real gateway: who did what by command or by the admin address, and who tried to get in."""

import contextlib
import json
import sqlite3
import subprocess
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import httpx
import pytest

from gateway.settings.state import store_file
from tests.harness import COMMAND, Gateway, config, eventually, running_gateway

ROLES = {
    "auditor": {"tier": "open", "may": ["audit:read", "projects:all"]},
    "developer": {"tier": "open", "may": ["infer", "traces:read", "audit:read"]},
}


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    keys = {name: {"role": name, "project": "p", "keys": [{"sha256": sha256(f"key-of-{name}".encode()).hexdigest()}]}
            for name in ROLES}  # fmt: skip
    plugins = [{"key_auth": {}}, {"acl": {}}, {"quota": {}}]
    with running_gateway(config(roles=ROLES, consumers=keys, plugins=plugins)) as running:
        yield running


def run(gateway: Gateway, *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([*COMMAND, *words, "--config", str(gateway.file)], capture_output=True, text=True, timeout=60)


def told(gateway: Gateway, **wanted: str) -> list[dict[str, Any]]:
    return list(gateway.command("audit.list", **wanted))


def wait(gateway: Gateway, **wanted: str) -> dict[str, Any]:
    """The newest entry of this kind, as soon as there is one."""
    return dict(eventually(lambda: told(gateway, **wanted), 30, f"an entry of {wanted}")[0])


def test_commands_tell_who_gave_them_and_what_to_but_no_secret(gateway: Gateway) -> None:
    command = [*COMMAND, "key", "new", "--consumer", "acme", "--tier", "free", "--config", str(gateway.file)]
    key = subprocess.run(command, capture_output=True, text=True, timeout=60).stdout.strip()
    entry = wait(gateway, action="key.new")
    assert entry["actor"].startswith("operator uid ") and entry["subject"] == "acme"
    assert entry["details"]["tier"] == "free" and entry["details"]["made"] and entry["outcome"] == "done"
    run(gateway, "key", "revoke", "no-such-key")
    refused = wait(gateway, action="key.revoke")
    assert refused["outcome"] == "refused" and refused["details"]["reason"]
    run(gateway, "reload")
    assert wait(gateway, action="reload")["outcome"] == "done"
    everything = json.dumps(told(gateway))
    assert key and key not in everything and sha256(key.encode()).hexdigest() not in everything


def test_the_admin_address_tells_what_it_changed_and_who_knocked(gateway: Gateway) -> None:
    own = {"Authorization": f"Bearer {gateway.admin_key}"}
    httpx.put(f"{gateway.admin_url}/admin/consumers/zoe", json={"tier": "free"}, headers=own).raise_for_status()
    entry = wait(gateway, action="PUT /admin/consumers/{name}")
    assert (entry["actor"], entry["subject"], entry["address"]) == ("admin", "zoe", "127.0.0.1")
    bad = httpx.put(f"{gateway.admin_url}/admin/consumers/zoe", json={"tier": "nobody"}, headers=own)
    assert bad.status_code >= 400
    refused = eventually(
        lambda: [one for one in told(gateway) if one["outcome"] == "refused" and one["subject"] == "zoe"], 30
    )
    assert refused[0]["details"]["error"] and refused[0]["details"]["request_id"]
    wrong = {"Authorization": "Bearer not-the-key"}
    assert httpx.get(f"{gateway.admin_url}/admin/status", headers=wrong).status_code == 401
    knocked = wait(gateway, action="admin.login.failed")
    assert (knocked["outcome"], knocked["address"]) == ("refused", "127.0.0.1")
    assert "not-the-key" not in json.dumps(knocked)


def test_failed_logins_are_counted_by_address(gateway: Gateway) -> None:
    for number in range(5):
        headers = {"Authorization": f"Bearer sk-guess-{number}"}
        assert httpx.get(f"{gateway.url}/v1/models", headers=headers).status_code == 401
    eventually(lambda: sum(int(one["details"]["times"]) for one in told(gateway, action="login.failed")) == 5, 30)
    assert {one["address"] for one in told(gateway, action="login.failed")} == {"127.0.0.1"}
    assert "sk-guess" not in json.dumps(told(gateway))


def test_administrators_read_it_by_the_api_and_nobody_else(gateway: Gateway) -> None:
    run(gateway, "key", "revoke", "no-such-key")
    wait(gateway, action="key.revoke")
    url = f"{gateway.url}/api/v1/audit"
    answer = httpx.get(url, params={"action": "key.*", "limit": 1}, headers={"Authorization": "Bearer key-of-auditor"})
    assert answer.status_code == 200 and answer.json()["data"][0]["action"].startswith("key.")
    refused = httpx.get(url, headers={"Authorization": "Bearer key-of-developer"})
    assert refused.status_code == 403 and refused.json()["error"]["number"] == 1104
    assert httpx.get(url).status_code == 401
    own = {"Authorization": f"Bearer {gateway.admin_key}"}
    assert httpx.get(f"{gateway.admin_url}/api/v1/audit", headers=own).status_code == 200


def test_verify_finds_what_was_changed_by_hand() -> None:
    with running_gateway(config()) as gateway:
        run(gateway, "reload")
        wait(gateway, action="reload")
        gateway.stop()
        run(gateway, "consumer", "set", "acme", "--tier", "free")  # without a gateway it is told as well
        listed = json.loads(run(gateway, "audit", "list", "--json").stdout)
        assert [one["action"] for one in listed] == ["consumer.set", "reload"]
        assert run(gateway, "audit", "list", "--action", "consumer.*").stdout.count("consumer.set") == 1
        done = run(gateway, "audit", "verify")
        assert done.returncode == 0 and "2 entries, whole" in done.stdout
        with contextlib.closing(sqlite3.connect(store_file(str(gateway.state)))) as store, store:
            store.execute("UPDATE audit SET actor = 'nobody' WHERE number = 1")
        done = run(gateway, "audit", "verify")
        assert done.returncode == 1 and "entry 1 was changed" in done.stdout
