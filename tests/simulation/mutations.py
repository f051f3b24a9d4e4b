"""Safety rules of the product, each broken on purpose: the simulation must find out about every one.

This is the one place where the product's own functions are replaced.
"""

import asyncio
import contextlib
import dataclasses
import datetime
import math
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

from pipeline_approver.core import change, claims, decision, follow, requests, status
from pipeline_approver.core import settle as settling
from pipeline_approver.core.case import AWAITING_APPROVAL, PROVISIONED, RUNNING, Act, Case, Rules
from pipeline_approver.core.resource import APPROVE, REJECT
from pipeline_approver.core.tokens import Token, TokenKind
from pipeline_approver.engine import calls, feed, reconciler
from pipeline_approver.engine.feed import Feed
from pipeline_approver.engine.reconciler import Reconciler
from pipeline_approver.feldera import wire
from pipeline_approver.feldera.client import FelderaClient
from pipeline_approver.kube.api import KubeApi

Breakage = Callable[[contextlib.ExitStack], None]


def _without(*names: str) -> Breakage:
    """The rules of precedence without some of them."""

    def break_it(stack: contextlib.ExitStack) -> None:
        kept = tuple(rule for rule in decision.RULES if rule.__name__ not in names)
        assert len(kept) == len(decision.RULES) - len(names)
        stack.enter_context(mock.patch.object(decision, "RULES", kept))

    return break_it


def _replaced(owner: Any, name: str, build: Callable[[Any], Any]) -> Breakage:
    """A function in place of the product's, which it is given."""

    def break_it(stack: contextlib.ExitStack) -> None:
        stack.enter_context(mock.patch.object(owner, name, build(getattr(owner, name))))

    return break_it


def _both(*breakages: Breakage) -> Breakage:
    def break_it(stack: contextlib.ExitStack) -> None:
        for breakage in breakages:
            breakage(stack)

    return break_it


def _accept_prefixes(judge: Any) -> Any:
    def lenient(case: Case, annotation: str, token: Token, **arguments: Any) -> Any:
        request = arguments["request"]
        if request is not None and len(token.text) >= 6 and request.id.startswith(token.text):
            token = Token(TokenKind.ID, request.id)
        return judge(case, annotation, token, **arguments)

    return lenient


def _follow_elsewhere(follow_approval: Any) -> Any:
    def stray(case: Case, decided: status.Decision) -> Any:
        view = case.view
        moved = decided if view is None or view.deployment_id is None else view.deployment_id
        if isinstance(moved, str):
            decided = dataclasses.replace(decided, deployment_id=moved)
        return follow_approval(case, decided)

    return stray


def _refuse_unknown(explain: Any) -> Any:
    def sure(error: Any) -> Any:
        answer = explain(error)
        return settling.Refused(message=answer.message) if isinstance(answer, settling.Ambiguous) else answer

    return sure


def _same_program(digest: Any) -> Any:
    def blind(*, program: Any, **rest: Any) -> str:
        return str(digest(program=dataclasses.replace(program, program_code="", udf_rust="", udf_toml=""), **rest))

    return blind


def _ignore_version(patch_status: Any) -> Any:
    async def overwrite(self: KubeApi, *names: str, **given: Any) -> Any:
        return await patch_status(self, *names, **{**given, "resource_version": None})

    return overwrite


def _act_first(step: Any) -> Any:
    async def hasty(self: Any, case: Case, known: Feed, lane: Any) -> Any:
        action = decision.decide(case).action
        if isinstance(action, Act):
            await self._call(action, case.resource, known, asyncio.get_running_loop().time())
        return await step(self, case, known, lane)

    return hasty


def _never_late(send: Any) -> Any:
    async def heedless(*args: Any, **given: Any) -> Any:
        return await send(*args, **{**given, "in_time": lambda: True})

    return heedless


def _wanted_running(parse_view: Any) -> Any:
    """Whatever is wanted of a pipeline that waits, it counts as wanted running."""

    def wishful(row: object) -> Any:
        view = parse_view(row)
        if view is None or view.status != AWAITING_APPROVAL:
            return view
        return dataclasses.replace(view, desired_status=RUNNING[0], resources_desired_status=PROVISIONED)

    return wishful


def _always(**fields: Any) -> Callable[[Any], Any]:
    """A case that is given other facts than those found."""
    return lambda make: lambda self, **given: make(self, **{**given, **fields})


def _own_clock(measure: Any) -> Any:
    return lambda *args, **given: measure(*args, **{**given, "own": True})


def _forget_with_value(_: Any) -> Any:
    """A used-up value is forgotten as soon as its annotation has another one."""

    def forgetful(case: Case) -> status.Handled:
        handled = case.status.handled
        for name, token in ((APPROVE, case.resource.approve), (REJECT, case.resource.reject)):
            if token.text != handled.find(name)[0]:
                handled = dataclasses.replace(handled, **{name: "", f"{name}_before": ()})
        return handled

    return forgetful


def _without_flags(approve: Any) -> Any:
    return lambda self, name, **_: approve(self, name, silent=False, concurrent=False)


def _keep_last_only(record: Any) -> Any:
    def forgetful(before: status.Status, decided: Any) -> status.Status:
        after = record(before, decided)
        return after if after.history == before.history else dataclasses.replace(after, history=after.history[-1:])

    return forgetful


def _any_checkpoint(settle_checkpoint: Any) -> Any:
    def generous(case: Case, decided: status.Decision, answer: Any) -> status.Decision:
        if isinstance(answer, settling.Progress) and answer.success is not None:
            answer = settling.Progress(success=2**62)
        return settle_checkpoint(case, decided, answer)

    return generous


class _Same(str):
    """A digest that none differs from."""

    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return False


MUTATIONS: dict[str, Breakage] = {
    "drop the verifying read": _replaced(requests, "verify", lambda _: lambda *__: ""),
    "resend without waiting": _replaced(Case, "retry_at", lambda _: property(lambda __: None)),
    "take a lag for a new question": _replaced(
        Rules, "__init__", lambda make: lambda self, **given: make(self, **{**given, "resend": datetime.timedelta()})
    ),
    "treat Unavailable as withdrawn": _replaced(requests, "UNAVAILABLE", lambda _: "never"),
    "accept a prefix": _replaced(claims, "_judge", _accept_prefixes),
    "forget the used token": _replaced(status.Handled, "use", lambda _: lambda self, *__: self),
    "follow a changed deployment": _replaced(follow, "_follow_approval", _follow_elsewhere),
    "decide in a conflict": _without("refuse_conflict"),
    "decide what Feldera said before it fell silent": _both(
        _without("wait_for_connection"), _replaced(Case, "view", lambda _: property(lambda case: case.observation.view))
    ),
    "decide while suspended": _without("wait_while_suspended"),
    "leave the program out of the digest": _both(
        *(_replaced(where, "digest_change", _same_program) for where in (change, requests, follow))
    ),
    "take silence for a refusal": _replaced(calls, "_explain", _refuse_unknown),
    "ignore the resource version": _replaced(KubeApi, "patch_status", _ignore_version),
    "act before recording": _replaced(Reconciler, "_step", _act_first),
    "act although held up": _replaced(calls, "send", _never_late),
    "decide for the younger of two": _replaced(Case, "__init__", _always(duplicate_of="")),
    "decide from older news": _replaced(Case, "__init__", _always(is_news=True)),
    "approve what is wanted stopped": _replaced(wire, "parse_view", _wanted_running),
    "trust another machine's clock": _replaced(reconciler, "measure_pause", _own_clock),
    "decide from what was known before standing still": _replaced(feed, "LONGEST_POLL_SECONDS", lambda _: math.inf),
    "carry out a decision about another change": _replaced(follow, "digest_change", lambda _: lambda **__: _Same()),
    "forget a used value when another is set": _replaced(claims, "release_tokens", _forget_with_value),
    "drop the flags of an approval": _replaced(FelderaClient, "approve", _without_flags),
    "shorten the history": _both(
        _replaced(follow, "record_decision", _keep_last_only), _replaced(settling, "record_decision", _keep_last_only)
    ),
    "take any checkpoint for the one asked for": _replaced(settling, "_settle_checkpoint", _any_checkpoint),
}


@contextlib.contextmanager
def broken(name: str) -> Iterator[None]:
    """The product with one rule broken."""
    with contextlib.ExitStack() as stack:
        MUTATIONS[name](stack)
        yield
