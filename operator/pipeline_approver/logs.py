"""Log lines for people, or JSON for machines. One line per transition; never a body, never a secret."""

import datetime
import json
import logging
import sys
import traceback

FIELDS = ("pipeline", "reason", "request")
"""What a record may carry besides its message, as `extra`."""

_QUIET = ("kopf", "kopf.objects", "kopf.activities", "aiohttp.access", "httpx", "httpcore", "kubernetes", "urllib3")


class TextFormatter(logging.Formatter):
    """`12:00:00 INFO  shop/orders Approved: request … was approved by alice`."""

    def format(self, record: logging.LogRecord) -> str:
        """One line; a traceback below it where there is one."""
        moment = datetime.datetime.fromtimestamp(record.created, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        parts = [moment, f"{record.levelname:<8}"]
        pipeline, reason = getattr(record, "pipeline", ""), getattr(record, "reason", "")
        if pipeline:
            parts.append(pipeline)
        message = record.getMessage().replace("\n", " ")
        parts.append(f"{reason}: {message}" if reason else message)
        line = " ".join(parts)
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class JsonFormatter(logging.Formatter):
    """One JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as JSON."""
        moment = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
        entry = {
            "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        entry |= {field: value for field in FIELDS if (value := getattr(record, field, ""))}
        if record.exc_info and record.exc_info[0] is not None:
            entry["exception"] = "".join(traceback.format_exception(*record.exc_info))
        return json.dumps(entry, ensure_ascii=False)


def soften_retries(record: logging.LogRecord) -> bool:
    """kopf calls an attempt that it is going to repeat an error; only the last one of a row is."""
    if record.name.startswith("kopf") and record.levelno == logging.ERROR and "will retry" in record.getMessage():
        record.levelno, record.levelname = logging.WARNING, logging.getLevelName(logging.WARNING)
    return True


def configure_logging(*, level: str, form: str) -> None:
    """Send everything to standard error in one form; libraries only from warnings on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    handler.addFilter(soften_retries)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
