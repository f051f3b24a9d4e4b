"""Safety rules of the product, each broken on purpose: the simulation must find out about every one.

This is the one place where the product's own functions are replaced.
"""

import contextlib
import dataclasses
import datetime
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

from pipeline_approver.core import change, claims, decision, follow, requests, status
from pipeline_approver.core import settle as settling
from pipeline_approver.core.case import Case, Rules
from pipeline_approver.core.tokens import Token, TokenKind
from pipeline_approver.engine import calls

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
        _replaced(change, "digest_change", _same_program), _replaced(requests, "digest_change", _same_program)
    ),
    "take silence for a refusal": _replaced(calls, "_explain", _refuse_unknown),
}


@contextlib.contextmanager
def broken(name: str) -> Iterator[None]:
    """The product with one rule broken."""
    with contextlib.ExitStack() as stack:
        MUTATIONS[name](stack)
        yield
