"""Who may change state over HTTP (requirement Q1)."""

from __future__ import annotations

import hashlib
import hmac
from urllib.parse import urlsplit

from starlette.datastructures import Headers

from supervisor.config.checks import is_loopback
from supervisor.errors import SupervisorError


class AccessDenied(SupervisorError):
    """A request may not do what it asks; `status` is its HTTP status."""

    code = "access_denied"

    def __init__(self, *, status: int, what: str, fix: str) -> None:
        super().__init__(subject="request", what=what, fix=fix)
        self.status = status


class Access:
    """Checks requests that change state.

    Keeps the token's SHA-256 only, and compares in constant time.
    """

    def __init__(self, *, token: str | None, token_env: str, address: str) -> None:
        self._digest = hashlib.sha256(token.encode()).digest() if token else None
        self._token_env = token_env
        self._is_local = is_loopback(address)

    def check(self, headers: Headers, *, is_loosening: bool) -> None:
        """Check a state-changing request.

        Where a token is configured, all need it. Where none is, which is possible on loopback
        only, stopping is free to every user of this machine and loosening (a release, an
        approval) is not possible over HTTP.

        Raises:
            AccessDenied: it comes from another site, or lacks the token.
        """
        self._check_site(headers)
        if self._digest is None:
            if is_loosening:
                raise AccessDenied(
                    status=403,
                    what="a release or approval over HTTP needs a token, and none is configured",
                    fix="use `supervisor release` or `supervisor approvals`, or start the daemon"
                    f" with ${self._token_env}",
                )
            return
        scheme, _, given = headers.get("authorization", "").partition(" ")
        digest = hashlib.sha256(given.strip().encode()).digest()
        if scheme.lower() != "bearer" or not hmac.compare_digest(digest, self._digest):
            raise AccessDenied(
                status=401,
                what="the token is missing or wrong",
                fix=f"send `Authorization: Bearer TOKEN` with the value of ${self._token_env}",
            )

    def _check_site(self, headers: Headers) -> None:
        host = headers.get("host", "")
        origin = headers.get("origin")
        site = headers.get("sec-fetch-site", "none")
        try:
            is_foreign = origin is not None and urlsplit(origin).netloc != host
            # A name that another site has pointed at this machine is not one of this machine's.
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            is_foreign, name = True, ""
        is_rebound = self._is_local and not is_loopback(name)
        if is_foreign or is_rebound or site not in ("none", "same-origin"):
            raise AccessDenied(
                status=403,
                what="it comes from another site",
                fix="call this address itself, not from a page of another one",
            )
