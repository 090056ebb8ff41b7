"""A gateway that cannot start says why in one line and exits with 3; a killed one leaves room for its successor."""

import asyncio
import subprocess
from pathlib import Path

import yaml

from tests.harness import COMMAND, Document, config, eventually, running_gateway
from tests.load import Client, chat
from tests.streams import read_stream


def refusal(folder: Path, document: Document) -> str:
    """What a start that fails says, without its log."""
    file = folder / "gateway.yaml"
    listen = {"proxy": "127.0.0.1:0", "status": "127.0.0.1:0", "admin": ""}
    file.write_text(yaml.safe_dump({"listen": listen, "state": {"directory": str(folder / "var")}, **document}))
    result = subprocess.run([*COMMAND, "serve", str(file)], capture_output=True, text=True, timeout=30, check=False)
    lines = [line for line in result.stderr.splitlines() if not line.startswith("time=")]
    assert (result.returncode, result.stdout, len(lines)) == (3, "", 1), result
    return lines[0].removeprefix("tollkeeper: cannot start: ")


def test_a_model_file_that_is_not_there(tmp_path: Path) -> None:
    document = config(backends={"echo": {"llama_cpp": {"model": str(tmp_path / "nowhere.gguf")}}})
    assert "nowhere.gguf" in refusal(tmp_path, document)


def test_an_address_and_a_directory_in_use(tmp_path: Path) -> None:
    (tmp_path / "second").mkdir()
    with running_gateway(config(), folder=tmp_path) as gateway:
        proxy = gateway.status()["addresses"][0]
        listen = {"proxy": proxy, "status": "127.0.0.1:0"}
        assert refusal(tmp_path / "second", config(listen=listen)).startswith(f"{proxy} is taken")
        listen = {"proxy": "127.0.0.1:0", "status": gateway.status_url.removeprefix("http://")}
        assert "is taken" in refusal(tmp_path / "second", config(listen=listen))
        assert f"process {gateway.pid}" in refusal(tmp_path / "second", config(state={"directory": str(gateway.state)}))


def test_a_state_directory_that_cannot_be_written(tmp_path: Path) -> None:
    assert "/proc/nowhere" in refusal(tmp_path, config(state={"directory": "/proc/nowhere"}))


async def test_the_successor_of_a_killed_gateway_starts_at_once_at_the_same_address(tmp_path: Path) -> None:
    """While streams of the dead one still run."""
    with running_gateway(config(), folder=tmp_path) as gateway:
        address, long = gateway.address, chat(stream=True, chunks=400, chunk_delay=0.05)
        stream = asyncio.create_task(read_stream(gateway, long))
        await asyncio.sleep(0.2)
        gateway.kill()
        document = config(listen={"proxy": "{}:{}".format(*address)})
        with running_gateway(document, folder=tmp_path) as successor:
            client = Client(address, successor.key("open"))
            assert (await client.ask(chat())).status == 200
            client.close()
            _, is_cut = await stream
            assert is_cut
            await asyncio.to_thread(eventually, lambda: not successor.status()["unsettled"], 8.0)
