"""Once, for a while."""

from gateway.supervisor.recollection import Recollection


class Time:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_key_is_new_once_until_its_end() -> None:
    time = Time()
    memory = Recollection(time)
    assert memory.add(b"a", 10) and not memory.add(b"a", 10)
    assert memory.add(b"b", 1)
    time.now = 9.9
    assert not memory.add(b"a", 10), "asking again does not prolong it"
    assert memory.add(b"b", 1), "its own end was earlier"
    time.now = 10
    assert memory.add(b"a", 10)


def test_what_is_dropped_is_new_again() -> None:
    memory = Recollection(Time())
    memory.drop(b"a")
    assert memory.add(b"a", 10)
    memory.drop(b"a")
    assert memory.add(b"a", 10) and not memory.add(b"a", 10)


def test_the_oldest_is_forgotten_first() -> None:
    memory = Recollection(Time(), most=2)
    assert [memory.add(key, 10) for key in (b"a", b"b", b"c")] == [True] * 3
    assert not memory.add(b"c", 10) and memory.add(b"a", 10)
