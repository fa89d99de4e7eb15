"""A process forked from this one that may be killed or end itself: what it said, its status."""

import os
import sys
import traceback


class ForkedProcess:
    """Runs ``work()`` in a process of its own; it ends with status 0 if that returns."""

    def __init__(self, work, errors):
        self._errors = errors
        self.pid = os.fork()
        if self.pid == 0:
            sys.stderr = errors.open('w', buffering=1)
            try:
                work()
            except BaseException:
                traceback.print_exc()
                os._exit(99)
            os._exit(0)

    def wait(self):
        """Exit status (a signal's as a negative number), and the lines of its error stream."""
        _, status = os.waitpid(self.pid, 0)
        self.pid = None
        return os.waitstatus_to_exitcode(status), self._errors.read_text().splitlines()

    def kill(self):
        """End it, unless it has been waited for."""
        if self.pid is not None:
            os.kill(self.pid, 9)
            self.wait()
