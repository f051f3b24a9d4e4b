"""Times as Kubernetes writes them: RFC 3339, UTC, whole seconds."""

import datetime

Moment = datetime.datetime


def render_time(moment: Moment) -> str:
    """`2026-11-23T12:00:00Z`; fractions of a second are cut."""
    # Not strftime, which writes the years before 1000 with fewer digits.
    return moment.astimezone(datetime.UTC).replace(microsecond=0, tzinfo=None).isoformat() + "Z"


def parse_time(text: object) -> Moment | None:
    """An aware moment, or None for anything that is not one; fractions of a second are cut, as when it is written."""
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.datetime.fromisoformat(text)
        return moment.astimezone(datetime.UTC).replace(microsecond=0) if moment.tzinfo else None
    except (ValueError, OverflowError):
        return None


def round_up(moment: Moment) -> Moment:
    """The next whole second: for moments before which nothing may happen."""
    return moment if not moment.microsecond else moment.replace(microsecond=0) + datetime.timedelta(seconds=1)


def round_down(moment: Moment) -> Moment:
    """The second that a moment lies in."""
    return moment.replace(microsecond=0)
