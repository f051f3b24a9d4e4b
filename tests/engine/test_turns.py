"""Turns on a connection: so many at once, people first, nobody is forgotten, and no connection holds up another."""

import pytest

from pipeline_approver.engine.cache import ConnectionKey
from pipeline_approver.engine.queue import Lane, WorkQueue
from pipeline_approver.engine.turns import AT_ONCE, Turns

OWN, OTHER = ConnectionKey(), ConnectionKey("orders", "feldera")


class Desk:
    def __init__(self) -> None:
        self.queue = WorkQueue()
        self.turns = Turns(self.queue)

    def fill(self, connection: ConnectionKey = OWN) -> None:
        for number in range(AT_ONCE):
            assert self.turns.take(connection, f"busy{number}", Lane.URGENT)

    async def called(self) -> list[str]:
        """Who has been called, in order of lanes."""
        found = []
        for lane in Lane:
            while self.queue._lanes[lane]:
                found.append(await self.queue.get(lane))
                self.queue.done(found[-1])
        return found


@pytest.fixture
def desk() -> Desk:
    return Desk()


async def test_so_many_at_once_and_the_next_comes_when_one_has_ended(desk: Desk) -> None:
    desk.fill()
    assert not desk.turns.take(OWN, "a", Lane.URGENT)
    assert not desk.turns.take(OWN, "b", Lane.URGENT)
    assert await desk.called() == []
    desk.turns.give_back(OWN)
    assert await desk.called() == ["a"]
    assert desk.turns.take(OWN, "a", Lane.URGENT)


async def test_a_full_connection_holds_up_no_other(desk: Desk) -> None:
    desk.fill()
    assert desk.turns.take(OTHER, "a", Lane.BACKGROUND)


async def test_people_go_first(desk: Desk) -> None:
    desk.fill()
    for key, lane in (("a", Lane.BACKGROUND), ("b", Lane.URGENT)):
        assert not desk.turns.take(OWN, key, lane)
    desk.turns.give_back(OWN)
    assert await desk.called() == ["b"]


async def test_background_work_does_not_slip_in_before_people_who_wait(desk: Desk) -> None:
    desk.fill()
    for key in ("a", "b"):
        assert not desk.turns.take(OWN, key, Lane.URGENT)
    desk.turns.give_back(OWN)
    assert not desk.turns.take(OWN, "c", Lane.BACKGROUND)


async def test_a_key_waits_only_once(desk: Desk) -> None:
    desk.fill()
    for _ in range(2):
        assert not desk.turns.take(OWN, "a", Lane.URGENT)
    for _ in range(AT_ONCE):
        desk.turns.give_back(OWN)
    assert await desk.called() == ["a"]


async def test_nobody_is_forgotten_when_those_who_are_called_do_not_come(desk: Desk) -> None:
    desk.fill()
    keys = [f"waits{number}" for number in range(3 * AT_ONCE)]
    for key in keys:
        assert not desk.turns.take(OWN, key, Lane.BACKGROUND)
    for _ in range(AT_ONCE):
        desk.turns.give_back(OWN)
    assert await desk.called() == keys
