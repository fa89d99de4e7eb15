"""Parse the command line before the slow imports."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable


def parse_first(parse_args: Callable[[], object]) -> None:
    """Parse the command line, then import the stack; a tool calls this before it imports from it.

    So help and usage errors come at once, without the seconds that the stack takes. A missing
    package ends the tool with one line, and so does Ctrl-C, until the tool enters
    :func:`amt_mm.messages.one_line_errors`.
    """
    try:
        parse_args()
        if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:  # not in the background of a shell
            signal.signal(signal.SIGINT, _end)
        import amt_mm.registry  # noqa: F401
    except ImportError as missing:
        from amt_mm.apis.doctor.stack import advice_on
        sys.exit(f'error: {missing}: {advice_on(str(missing))}')


def _end(number: int, _) -> None:
    """End by the signal itself: raised in an import, an exception may become another one."""
    if os.environ.get('RANK', '0') == '0':
        os.write(2, b'interrupted: nothing was begun\n')
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
