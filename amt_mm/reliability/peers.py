"""Heartbeats between the processes of a run, over the network."""

from __future__ import annotations

import atexit
import json
import os
import secrets
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta

from mmengine.dist import broadcast_object_list, get_rank

from amt_mm.errors import REQUEUE_STATUS, InputError
from amt_mm.json_files import parse_json
from amt_mm.messages import say

from .watchdog import INTERVAL, End, watchdog

# Seconds of silence after which a process counts as lost. A restarting switch or a changing route
# takes up to a minute, and TCP may wait as long again before it retransmits.
TIMEOUT = 120
# Timeout in seconds of a collective of training while all processes live: the longest that one
# works alone while the others wait, such as writing a checkpoint to a slow disk.
EXCHANGE_TIMEOUT = 1800
_CONNECT = 30
# Bytes that are read at a time, and the longest line.
_MOST = 1 << 16


def silence_limit(env_cfg: Mapping | None) -> float:
    """Seconds of silence after which a process counts as lost: ``env_cfg.dist_cfg.timeout``.

    Raises:
        InputError: It is not a number above 0.
    """
    limit = ((env_cfg or {}).get('dist_cfg') or {}).get('timeout', TIMEOUT)
    if not isinstance(limit, (int, float)) or not limit > 0:
        raise InputError(f'env_cfg.dist_cfg.timeout is a number of seconds above 0, not {limit!r}')
    return limit


def exchange_timeout(env_cfg: Mapping | None) -> timedelta:
    """Timeout of collectives: half an hour, or the silence limit if that is longer."""
    return timedelta(seconds=max(EXCHANGE_TIMEOUT, silence_limit(env_cfg)))


def watch_peers(limit: float) -> None:
    """End this process if another one of the run is lost; all must call this at the same time.

    Args:
        limit: Seconds of silence after which a process counts as lost.
    """
    peers = Peers(limit)
    watchdog.tell = peers.tell
    watchdog.add(peers.check)
    # For all ends of this process except by a signal, or by the watchdog, which tells the others.
    atexit.register(watchdog.leave, End('see its own message', 1))


class Peers:
    """Connections of the first process to all others, with a heartbeat each second.

    The watchdog's thread sends the heartbeats, however long the main thread spends in a step, a
    checkpoint or a refresh. A lost machine or network is thus noticed soon, although a process
    may keep the others waiting for long. torch has no such check: its collectives only time out,
    and its store does not report a closed connection. Silence is counted per check, so that a
    process that was itself suspended does not blame the others.

    Each line on a connection is a heartbeat (empty) or the reason why its sender ends: status and
    text, or ``null`` at a regular end. A connection that closes without a reason belonged to a
    process that was killed. The first process forwards the reason for its own end, so that all
    processes report the same.

    All processes must create it at the same time.

    Args:
        limit: Seconds of silence after which a process counts as lost.
    """

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._name = f'rank {get_rank()} on {socket.gethostname()}'
        self._found: End | None = None
        self._last = time.monotonic()
        self._links: list[_Link] = []
        self._server: socket.socket | None = None
        meeting: list = [None]
        if get_rank() == 0:
            both = socket.has_dualstack_ipv6()
            self._server = socket.create_server(
                ('', 0), family=socket.AF_INET6 if both else socket.AF_INET, dualstack_ipv6=both,
                backlog=1024)
            self._server.setblocking(False)
            meeting = [(self._server.getsockname()[1], secrets.token_hex(8), self._name)]
        broadcast_object_list(meeting)
        port, self._token, first = meeting[0]
        if get_rank() == 0:
            return
        address = (os.environ['MASTER_ADDR'], port)
        try:
            connection = socket.create_connection(address, _CONNECT)
        except OSError as error:
            say('warning', f'{self._name} cannot reach rank 0 at {address[0]}, port {port} '
                f'({error.strerror or error}): a failure of that machine or the network is noticed '
                f'only after {EXCHANGE_TIMEOUT // 60} minutes')
            return
        link = _Link(connection, first)
        link.send(json.dumps([self._token, self._name]))
        self._links.append(link)

    def check(self) -> End | None:
        """Send a heartbeat, and check those of the others."""
        now = time.monotonic()
        passed, self._last = min(now - self._last, 2 * INTERVAL), now
        self._accept()
        for link in self._links:
            link.send('')
            link.silent += passed
            for line in link.lines():
                link.silent = 0.
                if line:
                    self._hear(link, line)
            if link.name is not None and link.closed:
                self._end(f'{link.name} was killed, or its machine went down; '
                          'continue with --resume')
            elif link.name is not None and link.silent > self._limit:
                self._end(f'nothing was heard from {link.name} for {self._limit:.0f} s '
                          '(env_cfg.dist_cfg.timeout): that machine or the network to it is down; '
                          'continue with --resume')
        self._links = [link for link in self._links if not link.closed]
        return self._found

    def tell(self, end: End | None) -> None:
        """Tell the others why this process ends, None for a regular end; then disconnect."""
        message = None
        if end is not None:
            line = end.line if end is self._found else f'{self._name} has ended: {end.line}'
            message = [end.status, line]
        for link in self._links:
            link.send(json.dumps(message))
        self._links = []

    def _end(self, line: str, status: int = REQUEUE_STATUS) -> None:
        # Later reasons are consequences of the first.
        self._found = self._found or End(line, status)

    def _accept(self) -> None:
        # No connection is waiting, or it was closed meanwhile.
        with suppress(OSError):
            while self._server is not None:
                self._links.append(_Link(self._server.accept()[0]))

    def _hear(self, link: _Link, line: str) -> None:
        try:
            message = parse_json(line)
            if link.name is None:
                token, name = message
                if token != self._token:
                    raise ValueError
                link.name = name
            else:
                link.name = None  # nothing follows
                if message is not None:
                    status, text = message
                    self._end(text, status)
        except (ValueError, TypeError):
            # A program other than this run has connected to the port.
            link.name, link.closed = None, True


class _Link:
    """A non-blocking connection to another process.

    Attributes:
        name: The other process; None until it has introduced itself, and after its end.
        silent: Seconds since its last line.
        closed: Whether the other side has closed it.
    """

    def __init__(self, connection: socket.socket, name: str | None = None) -> None:
        connection.setblocking(False)
        self.name = name
        self.silent = 0.
        self.closed = False
        self._connection = connection
        self._rest = b''

    def send(self, line: str) -> None:
        # A failure to send shows in what is received: a closed connection, or silence.
        with suppress(OSError):
            self._connection.send(line.encode() + b'\n')

    def lines(self) -> list[str]:
        """Complete lines received since the last call."""
        try:
            data = self._connection.recv(_MOST)
        except BlockingIOError:
            return []
        except OSError:
            data = b''
        *lines, self._rest = (self._rest + data).split(b'\n')
        self.closed = not data or len(self._rest) > _MOST
        return [line.decode(errors='replace') for line in lines]
