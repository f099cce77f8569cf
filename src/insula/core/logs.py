"""Logs: one JSON object per line on stdout, without secrets, whoever wrote the line."""

import json
import logging
import re
import sys
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from functools import lru_cache
from math import isfinite
from typing import Any, Final

import structlog
from structlog.dev import ConsoleRenderer, plain_traceback
from structlog.typing import EventDict, Processor, WrappedLogger

from insula.core import clock

REDACTED: Final = "[redacted]"

_LONGEST: Final = 4096
_LONGEST_TRACE: Final = 16_384
_DEEPEST: Final = 8

_SECRET_NAME: Final = re.compile(
    r"(?i).*(authorization|cookie|passw(or)?d|passphrase|secret|token|otp|api_?key|private_?key"
    r"|idempotency_?key|credential|signature)s?"
)
# No alternative may begin at many places and run far from each: a text made for it would stop the program. Where one
# can begin inside of itself, its beginning must stand at the edge of a word, or it is short.
_SECRET_TEXT: Final = re.compile(
    r"ins_[a-z]+_[a-z0-9]+"  # ours
    r"|(?<![\w-])eyj[\w-]{8,}\.[\w-]+(?:\.[\w-]*)*"  # JWTs
    r"|(://)[^\s/@:]{0,64}:[^\s@]{1,128}(?=@)"  # the login in a URL
    r"|(bearer )[\w.~+/=-]+"
    r"|((?:cookie|authorization)(?:: |=|[\"'][:,] ?))[^\r\n]+"
    r"|((?:password|secret|token)(?:=|[\"']: ?))(?:'[^']*'|\"[^\"]*\"|[^\s&]+)",
    re.IGNORECASE,
)
# Ids and paths contain none of these: to see that is much cheaper than to search them.
_HINTS: Final = (":", "=", "ins_", "eyj", "bearer ", "cookie", "authorization")

# C0 and C1 controls steer terminals and end lines; the rest breaks or reverses lines.
_CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_CONTROLS_BUT_NEWLINE: Final = re.compile(f"(?!\n){_CONTROLS.pattern}")


def configure_logs(level: str, *, json: bool) -> None:
    """Write to stdout from ``level`` up, ours and the libraries' alike; ``json`` false is for people."""
    number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            _redact_event,
            _add_time,
            *([_render_json] if json else _for_people()),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(sys.stdout),
    )
    for logger in logging.root.manager.loggerDict.values():
        if isinstance(logger, logging.Logger):
            logger.handlers.clear()
            logger.propagate = True
    logging.root.handlers[:] = [_Forward()]
    # Below these levels libraries write headers, bodies and URLs with their queries.
    logging.root.setLevel(max(number, logging.INFO))
    logging.getLogger("httpx").setLevel(logging.WARNING)


def redact(value: Any, depth: int = 0) -> Any:
    """A copy that is safe to write down: secrets gone, by their look and by their names; long text cut."""
    if isinstance(value, str):
        return _redact_text(value)
    if value is None or isinstance(value, int) or (isinstance(value, float) and isfinite(value)):
        return value
    if depth > _DEEPEST:
        return "[too deep]"
    if isinstance(value, Mapping):
        return {
            str(name): REDACTED if _names_secret(str(name)) else redact(item, depth + 1) for name, item in value.items()
        }
    if isinstance(value, (list, tuple, AbstractSet)):
        return [redact(item, depth + 1) for item in value]
    return _redact_text(repr(value))


def _redact_text(text: str, longest: int = _LONGEST) -> str:
    if len(text) > longest:
        text = f"{text[:longest]}... ({len(text)} characters)"
    lower = text.lower()
    for hint in _HINTS:  # any() would cost three times as much, in every value of every line
        if hint in lower:
            return _SECRET_TEXT.sub(rf"\1\2\3\4{REDACTED}", text)
    return text


@lru_cache(maxsize=1024)
def _names_secret(name: str) -> bool:
    return _SECRET_NAME.fullmatch(name.replace("-", "_")) is not None


def _add_time(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    event["time"] = clock.now().isoformat(timespec="milliseconds")
    return event


def _redact_event(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    exception = event.pop("exception", None)
    safe: EventDict = redact(event)
    if exception is not None:
        safe["exception"] = _redact_text(exception, _LONGEST_TRACE)
    return safe


def _render_json(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    # ASCII only: whatever a value holds reaches the terminal as an escape.
    line = {"time": event.pop("time"), "level": event.pop("level"), "message": event.pop("event")}
    return _encode(line | dict(event))


_encode: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=True).encode


def _for_people() -> list[Processor]:
    console = ConsoleRenderer(colors=sys.stdout.isatty(), timestamp_key="time", exception_formatter=plain_traceback)
    return [_escape_controls, console]


def _escape_controls(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    for name, value in event.items():
        if isinstance(value, str):
            controls = _CONTROLS_BUT_NEWLINE if name == "exception" else _CONTROLS
            event[name] = controls.sub(_escaped, value)
    return event


def _escaped(control: re.Match[str]) -> str:
    return control[0].encode("unicode_escape").decode()


class _Forward(logging.Handler):
    """Hands what libraries log to the same processors."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            level = min(max(record.levelno // 10 * 10, logging.DEBUG), logging.CRITICAL)
            structlog.get_logger().log(level, record.getMessage(), logger=record.name, exc_info=record.exc_info or None)
        except Exception:  # noqa: BLE001  # a malformed record must not end the work it reports on
            self.handleError(record)
