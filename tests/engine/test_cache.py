"""What the cache makes of versions that come late, and of what others have written."""

import asyncio
from dataclasses import replace

from pipeline_approver.core.status import Handled, Status
from pipeline_approver.core.tokens import parse_token
from pipeline_approver.engine.cache import Cache
from support.cases import NOW, RESOURCE, World

EMPTY = replace(RESOURCE, resource_version="5")


def shown() -> Status:
    world = World()
    world.step()
    return world.status


def decided() -> Status:
    world = World()
    world.step()
    world.set(approve=world.request_id).step()
    return world.status


async def test_an_older_version_is_not_taken_in_also_of_an_object_that_was_there_before() -> None:
    cache = Cache()
    assert cache.observe(EMPTY)
    assert not cache.observe(replace(EMPTY, resource_version="4"))
    assert not cache.observe(replace(EMPTY, resource_version="4", uid="uid-0"))
    assert cache.observe(replace(EMPTY, resource_version="6", uid="uid-2"))
    entry = cache.get(EMPTY.key)
    assert entry is not None
    assert entry.resource.uid == "uid-2"


async def test_a_status_of_another_process_is_dated() -> None:
    cache, loop = Cache(), asyncio.get_running_loop()
    cache.observe(EMPTY)
    entry = cache.get(EMPTY.key)
    assert entry is not None
    assert entry.told_at is None
    before = loop.time()
    cache.observe(replace(EMPTY, resource_version="6", status=shown()))
    assert entry.told_at is not None
    assert before <= entry.told_at <= loop.time()
    # An annotation is nobody's knowledge of Feldera.
    told = entry.told_at
    cache.observe(replace(EMPTY, resource_version="7", status=shown(), reason="because"))
    assert entry.told_at == told


async def test_a_status_that_was_there_at_the_start_is_dated_too() -> None:
    cache = Cache()
    cache.observe(replace(EMPTY, status=shown()))
    entry = cache.get(EMPTY.key)
    assert entry is not None
    assert entry.told_at is not None


async def test_an_own_write_is_not_taken_for_another_s_also_when_the_watch_is_faster() -> None:
    for watched_first in (False, True):
        cache = Cache()
        cache.observe(EMPTY)
        written = replace(EMPTY, resource_version="6", status=shown())
        if watched_first:
            cache.observe(written)
        entry = cache.observe_own(written, told_at=None)
        assert entry is not None
        assert (entry.told_at, entry.resource) == (None, written)


async def test_an_own_write_does_not_bring_back_what_is_gone_or_older() -> None:
    cache = Cache()
    written = replace(EMPTY, status=shown())
    assert cache.observe_own(written, told_at=None) is None
    assert cache.get(EMPTY.key) is None
    cache.observe(replace(EMPTY, resource_version="6", uid="uid-2"))
    assert cache.observe_own(written, told_at=None) is None
    cache.observe(replace(EMPTY, resource_version="7", uid="uid-2", created_at=NOW))
    assert cache.observe_own(replace(written, uid="uid-2"), told_at=None) is None


async def test_a_decision_is_dated_when_it_changes_and_its_pause_measured_anew() -> None:
    cache = Cache()
    cache.observe(replace(EMPTY, status=decided()))
    entry = cache.get(EMPTY.key)
    assert entry is not None
    first, entry.pause_until = entry.decided_at, 42.0
    await asyncio.sleep(0.001)
    cache.observe(replace(EMPTY, resource_version="6", status=replace(decided(), state="Approving")))
    assert (entry.decided_at, entry.pause_until) == (first, 42.0)
    cache.observe(replace(EMPTY, resource_version="7", status=replace(decided(), decision=None)))
    assert entry.decided_at > first
    assert entry.pause_until is None


async def test_a_value_that_was_away_for_a_moment_is_remembered_until_something_is_recorded() -> None:
    cache = Cache()
    used = replace(Status(), handled=Handled(approve="true"))
    there = replace(EMPTY, approve=parse_token("true"), status=used)
    cache.observe(there)
    entry = cache.get(EMPTY.key)
    assert entry is not None
    assert entry.released == frozenset()
    cache.observe(replace(there, resource_version="6", approve=parse_token(None)))
    cache.observe(replace(there, resource_version="7"))
    cache.observe(replace(there, resource_version="8", reason="because"))
    assert entry.released == {"approve"}
    for version, status in (
        ("9", replace(used, handled=Handled(approve="true", approve_before=("true@1",)))),
        ("10", replace(used, decision=decided().decision)),
    ):
        cache.observe(replace(there, resource_version=f"{version}0", approve=parse_token(None)))
        assert entry.released == {"approve"}
        cache.observe(replace(there, resource_version=f"{version}1", status=status))
        assert entry.released == frozenset()
