"""Keys made, used and revoked, with and without a gateway that runs."""

import asyncio
import subprocess
import time
from pathlib import Path

from tests.harness import COMMAND, Gateway, config, running_gateway
from tests.load import Answer, Client, chat


async def run(gateway: Gateway, *arguments: str) -> str:
    """What a command says on stdout; it must succeed."""
    result = await asyncio.to_thread(
        subprocess.run, [*COMMAND, *arguments, "-c", str(gateway.file)],
        capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


async def test_s06_a_revoked_key_stops_within_a_second_on_every_worker() -> None:
    """On connections that were open before, too."""
    with running_gateway(config(), workers=2) as gateway:
        key = await run(gateway, "key", "new", "--consumer", "bob", "--tier", "open")
        clients = [Client(gateway.address, key) for _ in range(16)]
        assert {answer.status for answer in await ask_all(clients)} == {200}
        assert await run(gateway, "key", "revoke", key.split("_")[1])
        revoked = time.monotonic()
        while {answer.status for answer in await ask_all(clients)} != {401}:
            assert time.monotonic() - revoked < 2, "a third of a second on a quiet machine"
        answers = await ask_all(clients)
        assert {answer.json["error"]["number"] for answer in answers} == {1002}
        for client in clients:
            client.close()


async def ask_all(clients: list[Client]) -> list[Answer]:
    return await asyncio.gather(*[client.ask(chat()) for client in clients])


async def test_a_key_made_while_no_gateway_runs_is_good_when_one_does(tmp_path: Path) -> None:
    with running_gateway(config(), folder=tmp_path) as gateway:
        assert gateway.stop() == 0
        key = await run(gateway, "key", "new", "--consumer", "ann", "--tier", "open")
        gone = await run(gateway, "key", "new", "--consumer", "ann")
        await run(gateway, "key", "revoke", gone.split("_")[1])
    with running_gateway(config(), folder=tmp_path) as gateway:
        for name, status in ((key, 200), (gone, 401)):
            client = Client(gateway.address, name)
            assert (await client.ask(chat())).status == status
            client.close()
