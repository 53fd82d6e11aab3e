"""How an address is asked: at the mirror if there is one, with patience, and with one name for each kind of failure."""

from __future__ import annotations

import http.client
import json
import logging
import os
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from xferbench.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MIRROR = "XFERBENCH_MIRROR"
USER_AGENT = "xferbench (downloads of public data sets)"
"""Some hosts answer nothing, with success, to clients that do not say who they are."""

PASSING = (408, 412, 416, 425, 429)
"""Of the answers that blame the request, those that asking again may change."""

T = TypeVar("T")
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How patient to be.

    Attributes:
        attempts: At one address.
        timeout: Seconds without a byte.
        backoff: Seconds before the second attempt; doubled for each further one.
        longest: Seconds to wait at most, whatever the server asks for.
        sleep: Waits; tests look at it.
    """

    attempts: int = 6
    timeout: float = 60.0
    backoff: float = 1.0
    longest: float = 300.0
    sleep: Callable[[float], None] = time.sleep


POLICY = Policy()


class Failed(Exception):  # noqa: N818 - never leaves this folder
    """One attempt that failed.

    Attributes:
        wait: Seconds the server asks to wait.
        final: Asking here again is pointless.
        stale: The partial file cannot be continued.
    """

    def __init__(self, why: str, *, wait: float | None = None, final: bool = False, stale: bool = False) -> None:
        super().__init__(why)
        self.wait, self.final, self.stale = wait, final, stale


def mirrored(url: str) -> str:
    """The address to ask: at the mirror, if one is set."""
    mirror = os.environ.get(MIRROR, "").rstrip("/")
    if not mirror:
        return url
    parts = urlsplit(url)
    query = f"?{parts.query}" if parts.query else ""
    return f"{mirror}/{parts.netloc}{parts.path}{query}"


def patiently(url: str, policy: Policy, attempt: Callable[[], T]) -> T:
    """Attempt after attempt, with pauses.

    Raises:
        DataError: The last one failed, or one said that the next would.
    """
    for count in range(1, policy.attempts + 1):
        try:
            return attempt()
        except Failed as problem:
            if problem.final or count == policy.attempts:
                raise DataError(f"{url}: {problem} (attempt {count} of {policy.attempts})") from problem
            wait = policy.backoff * 2 ** (count - 1) if problem.wait is None else problem.wait
            log.info("%s: %s; again in %.0f s", url, problem, min(wait, policy.longest))
            policy.sleep(min(wait, policy.longest))
    raise DataError(f"{url}: no attempt was allowed")


def ask(url: str, headers: Mapping[str, str], policy: Policy) -> http.client.HTTPResponse:
    """Send the request.

    Raises:
        Failed: No success, no connection.
    """
    request = urllib.request.Request(url, headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity", **headers})  # noqa: S310 - addresses are the package's own and the user's mirror
    try:
        answer: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=policy.timeout)  # noqa: S310 - see above
    except urllib.error.HTTPError as error:
        with error:
            wait = _retry_after(error.headers.get("Retry-After"))
            final = 400 <= error.code < 500 and error.code not in PASSING
            stale = error.code in {412, 416}  # the part is longer than the file, or of another state of it
            raise Failed(f"status {error.code} {error.reason}", wait=wait, final=final, stale=stale) from error
    except (OSError, http.client.HTTPException) as error:
        raise Failed(f"no answer ({getattr(error, 'reason', error)})") from error
    return answer


def ask_json(url: str, policy: Policy) -> Any:  # noqa: ANN401 - JSON is what it is
    """A small JSON answer, with the same patience as for files.

    Raises:
        DataError: None comes.
    """

    def attempt() -> Any:  # noqa: ANN401 - see above
        with ask(mirrored(url), {"Accept": "application/json"}, policy) as answer:
            try:
                return json.loads(answer.read(1 << 24))
            except (OSError, http.client.HTTPException, ValueError) as error:
                raise Failed(f"no JSON came ({error})") from error

    return patiently(mirrored(url), policy, attempt)


def _retry_after(text: str | None) -> float | None:
    """Seconds from a ``Retry-After`` header: a number, or a date."""
    if not text:
        return None
    if text.strip().isdigit():
        return float(text)
    try:
        when = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, (when - datetime.now(UTC)).total_seconds())
