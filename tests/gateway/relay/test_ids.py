import re
import time

from gateway.relay.ids import Ids


def test_ids_are_128_bits_and_never_come_again() -> None:
    ids = Ids()
    made = [ids() for _ in range(5_000)]  # several batches of randomness
    assert len(set(made)) == len(made)
    assert all(re.fullmatch(r"[0-9a-f]{32}", one) for one in made)
    assert len({one[12:] for one in made}) == len(made), "the random part alone is unique"


def test_ids_begin_with_the_time_so_that_they_sort_by_it() -> None:
    ids = Ids()
    before = time.time_ns() // 1_000_000
    first = ids()
    time.sleep(0.002)
    second = ids()
    after = time.time_ns() // 1_000_000
    assert before <= int(first[:12], 16) < int(second[:12], 16) <= after
    assert first < second


def test_two_workers_make_different_ids() -> None:
    assert not {Ids()() for _ in range(100)} & {Ids()() for _ in range(100)}
