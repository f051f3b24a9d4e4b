"""What the annotations of a Pipeline claim about the request that waits, if any."""

from dataclasses import dataclass, replace
from typing import Protocol

from pipeline_approver.core.case import Case, OneShot
from pipeline_approver.core.change import clip
from pipeline_approver.core.resource import APPROVE, GROUP, REJECT
from pipeline_approver.core.status import Decision, Handled, Ignored, Outcome, Request
from pipeline_approver.core.tokens import Token, TokenKind

VALUE_LENGTH = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One annotation, judged: either it decides the request, or it is ignored for a reason, or it says nothing."""

    annotation: str
    token: Token
    decides: bool = False
    armed: bool = False
    """A `true` that nothing waits for yet: it decides the next request."""
    ignored: Ignored | None = None
    spent: bool = False
    """Ignored, and used up by that."""


class Ignore(Protocol):
    """Makes the claim at hand an ignored one."""

    def __call__(self, reason: str, message: str, *, spent: bool = False) -> Claim: ...


def release_tokens(case: Case) -> Handled:
    """The used-up values that still count: they are forgotten as soon as their annotation was seen without a value.

    Another value is not enough. Where a GitOps tool restores what somebody had overwritten, it decides nothing.
    """
    handled = case.status.handled
    if case.resource.approve.kind is TokenKind.NONE or APPROVE in case.released:
        handled = replace(handled, approve="", approve_before=())
    if case.resource.reject.kind is TokenKind.NONE or REJECT in case.released:
        handled = replace(handled, reject="", reject_before=())
    return handled


def judge_claims(case: Case, *, request: Request | None, handled: Handled) -> tuple[Claim, Claim]:
    """The claims of `approve` and of `reject`."""
    return (
        _judge(case, APPROVE, case.resource.approve, handled=handled, request=request),
        _judge(case, REJECT, case.resource.reject, handled=handled, request=request),
    )


def _judge(case: Case, annotation: str, token: Token, *, handled: Handled, request: Request | None) -> Claim:
    def ignore(reason: str, message: str, *, spent: bool = False) -> Claim:
        value = clip(token.text, VALUE_LENGTH)
        text = f"{GROUP}/{annotation}={value} is ignored: {message}"
        entry = Ignored(annotation=annotation, value=value, reason=reason, message=text)
        return Claim(annotation=annotation, token=token, ignored=entry, spent=spent)

    silent = Claim(annotation=annotation, token=token)
    if case.duplicate_of:
        return silent
    if case.observation.problem is not None and token.kind is not TokenKind.INVALID:
        # Feldera is silent: what was said of this value before still stands.
        return replace(silent, ignored=_find_known(case, silent))
    last, before = handled.find(annotation)
    is_used = token.text != "" and (token.text == last or token.text in before)
    match token.kind:
        case TokenKind.NONE:
            return silent
        case TokenKind.INVALID:
            return ignore("Malformed", f"it {token.complaint}")
        case TokenKind.ONE_SHOT:
            return _judge_one_shot(case, silent, ignore, is_used=is_used, request=request)
        case TokenKind.ID if request is None:
            if token.text in _past_ids(case):
                return silent
            return ignore("UnknownRequest", "no request waits, and none of this id was decided")
        case TokenKind.ID if request is not None and token.text != request.id:
            return ignore("StaleRequest", f"the request that waits is {request.id}")
        case TokenKind.DIGEST if request is None:
            return silent
        case TokenKind.DIGEST if request is not None and token.text != request.digest:
            return ignore("OtherChange", f"the change that waits is {request.digest}")
    # The id or the digest of the request that waits. A refusal by Feldera ends a decision; the same value
    # decides again only after it was taken away and set anew.
    if is_used and request is not None and _has_failed(case.status.decision, request):
        return ignore("UsedUp", "Feldera refused this decision; remove the annotation and set it again to retry")
    return Claim(annotation=annotation, token=token, decides=True)


def _judge_one_shot(case: Case, silent: Claim, ignore: Ignore, *, is_used: bool, request: Request | None) -> Claim:
    setting = case.rules.one_shot
    if setting is OneShot.NEVER:
        return ignore("OneShotRefused", "this operator accepts only request ids and digests")
    if is_used:
        too_early = _find_known(case, silent, "SetTooEarly")
        if request is None or too_early is not None:
            return replace(silent, ignored=too_early)
        decision = case.status.decision
        if decision is not None and decision.request_id == request.id and not _has_failed(decision, request):
            # Only what has been answered is asked: Feldera may show a request for a while after that.
            return silent
        return ignore("UsedUp", f"it was used up before; set it to {request.id}, or to true@<a new word>")
    if setting is OneShot.WAITING:
        recorded = case.status.request
        if recorded is None or request is None or recorded.id != request.id:
            message = (
                "this operator accepts true only for a request that it showed;"
                " set it to the id of the request, or to true@<a new word>"
            )
            return ignore("SetTooEarly", message, spent=True)
    if request is None:
        return Claim(annotation=silent.annotation, token=silent.token, armed=True)
    return Claim(annotation=silent.annotation, token=silent.token, decides=True)


def _past_ids(case: Case) -> set[str]:
    status = case.status
    ids = {decision.request_id for decision in status.history}
    return ids | ({status.decision.request_id} if status.decision else set())


def _find_known(case: Case, claim: Claim, *reasons: str) -> Ignored | None:
    """What the status says of a value that is ignored, if it is for one of some reasons (all, if none is given)."""
    value = clip(claim.token.text, VALUE_LENGTH)
    known = (it for it in case.status.ignored if (it.annotation, it.value) == (claim.annotation, value))
    return next((it for it in known if not reasons or it.reason in reasons), None)


def _has_failed(decision: Decision | None, request: Request) -> bool:
    return decision is not None and decision.request_id == request.id and decision.outcome is Outcome.FAILED
