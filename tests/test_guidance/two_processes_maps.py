"""Open map files in each process that torchrun starts, each verifying a part of them."""

import sys
from datetime import timedelta
from pathlib import Path

from torch import distributed

from amt_mm.apis import launch
from amt_mm.errors import InputError
from amt_mm.guidance.map_reference import open_maps


def main(*paths):
    # A process that waits for one that has stopped fails soon.
    distributed.init_process_group('gloo', timeout=timedelta(seconds=20))
    for path in paths:
        try:
            line = f'opened {open_maps(Path(path), "f", verify=True).crc32}'
        except InputError as error:
            line = f'refused: {error}'
        # In one piece: print would write the line's end by itself, maybe after another's line.
        sys.stdout.write(line + '\n')
    distributed.destroy_process_group()


if __name__ == '__main__':
    main(*sys.argv[1:])
    launch.exit_after_gloo()
