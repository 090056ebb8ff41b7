import asyncio

from gateway.http.deadline import NEVER, Sweeper, sweep
from tests.gateway.http.peers import eventually


class Item:
    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.expired = 0

    def expire(self) -> None:
        self.expired += 1
        self.deadline = NEVER


class Broken(Item):
    def expire(self) -> None:
        super().expire()
        raise RuntimeError("a bug")


def test_only_those_whose_time_has_come() -> None:
    early, due, late, never = Item(1.0), Item(2.0), Item(2.1), Item(NEVER)
    assert sweep([early, due, late, never], 2.0) == [early, due]


async def test_an_item_expires_once_and_a_discarded_one_never() -> None:
    loop = asyncio.get_running_loop()
    sweeper = Sweeper(loop, 0.005)
    item, gone, late = Item(loop.time()), Item(loop.time()), Item(loop.time() + 60)
    for each in (item, gone, late):
        sweeper.add(each)
    sweeper.discard(gone)
    await eventually(lambda: item.expired)
    await asyncio.sleep(0.02)
    assert (item.expired, gone.expired, late.expired) == (1, 0, 0)
    sweeper.close()


async def test_one_item_that_fails_does_not_stop_the_others() -> None:
    loop = asyncio.get_running_loop()
    sweeper = Sweeper(loop, 0.005)
    broken = Broken(loop.time())
    sweeper.add(broken)
    await eventually(lambda: broken.expired)
    item = Item(loop.time())
    sweeper.add(item)
    await eventually(lambda: item.expired)
    sweeper.close()


async def test_a_closed_sweeper_is_silent() -> None:
    loop = asyncio.get_running_loop()
    sweeper = Sweeper(loop, 0.005)
    item = Item(loop.time())
    sweeper.add(item)
    sweeper.close()
    await asyncio.sleep(0.03)
    assert item.expired == 0
