"""What the supervisor knows of the ledger that replicas share."""

from pathlib import Path

from gateway.ledger.embedded import EmbeddedLedger
from gateway.ledger.limit import Need, Rate
from gateway.ledger.share import Share
from gateway.settings.schema import Config, State
from gateway.supervisor.authority import Authority, open_ledger


def test_without_redis_it_is_the_authority(tmp_path: Path) -> None:
    ledger = open_ledger(Config(), str(tmp_path))
    assert isinstance(ledger, EmbeddedLedger)
    authority = Authority(ledger)
    authority.count(3)
    assert authority.describe() == {"authority": "embedded", "up": True}
    assert authority.readings() == [(("embedded",), 1.0)]
    ledger.close()


def test_redis_is_up_where_every_worker_reaches_it(tmp_path: Path) -> None:
    ledger = open_ledger(Config(state=State(redis="redis://x")), str(tmp_path))
    assert isinstance(ledger, Share) and not list(tmp_path.iterdir())
    authority = Authority(ledger)
    authority.change("w1", False)
    authority.change("w2", False)
    authority.change("w1", True)
    assert authority.readings() == [(("redis",), 0.0)]
    authority.bury("w2")
    assert authority.describe() == {"authority": "redis", "up": True, "replicas": 1}


def test_the_first_worker_that_is_back_brings_what_was_spent(tmp_path: Path) -> None:
    from gateway.ledger.limit import Ask

    ledger = open_ledger(Config(state=State(redis="redis://x")), str(tmp_path))
    authority, rate = Authority(ledger), Rate("r", 10**9, 1_000_000, 10**9)
    for worker in ("w1", "w2"):
        assert authority.change(worker, False).needs == ()
    for number in range(2000):
        ledger.ask("w1", Ask(f"c{number}", (Need(rate, 10**9),)))
    told = authority.change("w2", True)
    assert [need.limit for need in told.needs] == [rate] and told.needs[0].cost < 0
    assert authority.change("w1", True).needs == ()
    assert authority.change("w1", True).needs == (), "it was not away"


def test_the_number_of_replicas_is_the_last_one_heard(tmp_path: Path) -> None:
    ledger = Share.__new__(Share)
    ledger.replicas = 1
    authority = Authority(ledger)
    authority.count(4)
    assert ledger.replicas == 4
    authority.count(0)
    assert ledger.replicas == 1
