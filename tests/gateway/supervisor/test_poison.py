"""Which bodies are refused, and for how long."""

from gateway.supervisor.poison import MEMORY, Poison


def test_the_second_death_convicts() -> None:
    poison = Poison()
    assert not poison.blame(b"x", "run-1", 0.0)
    assert poison.refused(0.0) == {}
    assert poison.blame(b"x", "run-2", 10.0), "there is something to tell"
    assert poison.refused(10.0) == {b"x": MEMORY}
    assert not poison.blame(b"x", "run-3", 20.0), "it is known"
    assert poison.refused(20.0) == {b"x": MEMORY}


def test_one_death_counts_once_however_often_the_body_was_there() -> None:
    poison = Poison()
    assert not any(poison.blame(b"x", "run-1", 0.0) for _ in range(5))
    assert poison.refused(0.0) == {}


def test_who_was_only_near_is_not_refused() -> None:
    poison = Poison()
    for run, bodies in (("run-1", (b"x", b"a")), ("run-2", (b"b", b"x"))):
        for body in bodies:
            poison.blame(body, run, 0.0)
    assert list(poison.refused(0.0)) == [b"x"]


def test_deaths_are_forgotten() -> None:
    poison = Poison()
    poison.blame(b"x", "run-1", 0.0)
    assert not poison.blame(b"x", "run-2", MEMORY)
    assert poison.blame(b"x", "run-3", MEMORY + 1)
    assert poison.refused(2 * MEMORY + 0.5) == {b"x": 0.5}
    assert poison.refused(2 * MEMORY + 1) == {}


def test_it_is_bounded() -> None:
    poison = Poison(most=3)
    for number in range(10):
        for run in ("run-1", "run-2"):
            poison.blame(b"%d" % number, run, 0.0)
    assert list(poison.refused(0.0)) == [b"7", b"8", b"9"]
