"""Malformed requests under load: each is refused from the catalogue or its connection closed; nobody else suffers."""

import asyncio
import json
from collections.abc import Iterable

from gateway.errors import CATALOGUE
from tests.faults.malformed import Case, Template, generate
from tests.harness import Gateway, config, running_gateway
from tests.load import Load, chat

SENDERS = 16
PATIENCE = 15.0  # seconds: the gateway waits 10 s for the rest of a head


async def test_malformed_requests_hurt_nobody() -> None:
    with running_gateway(config(), workers=2) as gateway:
        every = generate(Template(gateway.key("open").encode(), b"echo"))
        await send_malformed(gateway, every[:: max(1, len(every) // 2000)])


async def send_malformed(gateway: Gateway, cases: list[Case]) -> None:
    """Send all of them, beside a load that must not notice."""
    assert len(cases) >= 2000
    load = Load(gateway.address, gateway.key("open"), lambda n: chat(), pause=0.01)
    load.start(4)
    load.start(4, fresh=True)
    wrong: dict[str, bytes] = {}
    queue = iter(cases)
    await asyncio.gather(*[send_each(gateway.address, queue, wrong) for _ in range(SENDERS)])
    await load.stop()
    assert wrong == {}
    load.check_flawless()
    waits = sorted(answer.received - answer.sent for answer in load.whole.values())
    assert waits[len(waits) * 99 // 100] < 1
    assert load.asked > 100
    outcomes = {row["outcome"] for row in gateway.rows()}
    assert "failed" not in outcomes
    errors = [line for line in gateway.log.splitlines() if "level=error" in line]
    assert not [line for line in errors if "stood still" not in line]  # a busy machine's doing


async def send_each(address: tuple[str, int], cases: Iterable[Case], wrong: dict[str, bytes]) -> None:
    """Take cases until there are none; keep answers that are no refusal."""
    for case in cases:
        answer = await send(address, case.data)
        if not is_refusal(answer):
            wrong[case.name] = answer[:80]


async def send(address: tuple[str, int], data: bytes) -> bytes:
    """What comes back until a head and its body are whole, or the end."""
    reader, writer = await asyncio.open_connection(*address)
    answer = b""
    try:
        async with asyncio.timeout(PATIENCE):
            writer.write(data)
            while not is_whole(answer) and (piece := await reader.read(65_536)):
                answer += piece
    except ConnectionError:
        pass
    finally:
        writer.transport.abort()
    return answer


def is_whole(answer: bytes) -> bool:
    head, mark, body = answer.partition(b"\r\n\r\n")
    lengths = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return bool(mark) and bool(lengths) and len(body) >= int(lengths[0])


def is_refusal(answer: bytes) -> bool:
    """A 4xx of the catalogue, with its number in the envelope; or nothing at all. HEAD has no envelope."""
    if not answer:
        return True
    status, body = int(answer[9:12]), answer.partition(b"\r\n\r\n")[2]
    if not 400 <= status < 500:
        return False
    number = json.loads(body)["error"]["number"]
    return CATALOGUE[number].status == status


def test_the_judge_is_awake() -> None:
    assert is_refusal(b"") and is_refusal(b'HTTP/1.1 400 Bad Request\r\n\r\n{"error":{"number":1201}}')
    for answer in (b"HTTP/1.1 200 OK\r\n\r\n{}", b'HTTP/1.1 500 X\r\n\r\n{"error":{"number":1900}}'):
        assert not is_refusal(answer)
