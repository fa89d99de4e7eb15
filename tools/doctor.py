"""Check whether training can run here, and say what to do about what is missing.

One line for each finding: ok, warning (training still runs) or problem.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections import Counter
from pathlib import Path

# No parse_first: this imports nothing of the stack, which may be what is broken.
from amt_mm.apis.doctor import examine

EXAMPLES = """
examples:
  amt doctor
  amt doctor --work-dir /big/disk/work_dirs

Ends with status 0 if training could run, 1 if it could not. Nothing is changed or left behind.
"""


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLES,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', '--work-dir', dest='work_dir', type=Path,
                        default=Path('work_dirs'),
                        help='where runs are to write (default: %(default)s)')
    return parser.parse_args()


def main() -> None:
    """Print the findings and a sum."""
    args = parse_args()
    # Without a traceback after Ctrl-C and into `head`.
    for number in (signal.SIGINT, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)
    count = Counter()
    for finding in examine(args.work_dir):
        print(finding, flush=True)
        count[finding.state] += 1
    can = 'cannot' if count['problem'] else 'can'
    print(f'\nTraining {can} run here (warnings: {count["warning"]}, problems: '
          f'{count["problem"]})')
    sys.exit(1 if count['problem'] else 0)


if __name__ == '__main__':
    main()
