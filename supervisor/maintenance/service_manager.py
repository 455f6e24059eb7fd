"""Telling systemd how the daemon is: sd_notify(3), in the few lines that it takes."""

from __future__ import annotations

import socket

_DATAGRAM_BYTES_MAX = 4_096


class ServiceManager:
    """The notification socket of systemd, or nothing where there is none.

    The protocol is in sd_notify(3), read 2026-11-21. Sending never blocks and never fails the
    daemon: a manager that does not listen is not the daemon's trouble.
    """

    def __init__(self, address: str | None) -> None:
        self._socket: socket.socket | None = None
        if not address:
            return
        path = "\0" + address[1:] if address.startswith("@") else address
        sending = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        sending.setblocking(False)
        try:
            sending.connect(path)
        except OSError:
            sending.close()
            return
        self._socket = sending

    def notify(self, *assignments: str) -> None:
        """Send assignments such as `READY=1` or `STATUS=...`."""
        if self._socket is None:
            return
        try:
            self._socket.send("\n".join(assignments).encode()[:_DATAGRAM_BYTES_MAX])
        except OSError:
            return

    def close(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            self._socket.close()
