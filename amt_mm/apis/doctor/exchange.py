"""Two processes that exchange a number by gloo, as those of ``tools/dist_train.sh`` do.

``python -m amt_mm.apis.doctor.exchange RANK PORT``
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Sequence

from .finding import Finding, ok, warning
from .stack import own_environment

_LIMIT = 120  # seconds; torch alone takes some to import
_NUMBERS = (17, 25)
_WORKER = (sys.executable, '-m', 'amt_mm.apis.doctor.exchange')
_ADVICE = ('training in one process runs; for several, export GLOO_SOCKET_IFNAME=lo (on one '
           'machine), or the name of the network that joins the machines')


def exchange_between_two(worker: Sequence[str] = _WORKER, limit: float = _LIMIT) -> Finding:
    """Start two processes and see whether each gets the number of the other.

    Args:
        worker: Their command; rank and port are added.
        limit: Seconds until they are ended.
    """
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    start = time.monotonic()
    pair = [subprocess.Popen([*worker, str(rank), str(port)], stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True, env=own_environment())
            for rank in range(2)]
    try:
        said = [process.communicate(timeout=max(0, start + limit - time.monotonic()))
                for process in pair]
    except subprocess.TimeoutExpired:
        return warning(f'two processes did not exchange a number by gloo in {limit:.0f} s: '
                       f'{_ADVICE}')
    finally:
        for process in pair:
            process.kill()
            process.wait()
    if [out.split()[-1:] for out, _ in said] == [[str(number)] for number in _NUMBERS[::-1]]:
        return ok(f'two processes exchanged a number by gloo, in {time.monotonic() - start:.1f} s '
                  'with their imports')
    errors = [line for _, err in said for line in err.strip().splitlines()]
    return warning(f'two processes did not exchange a number by gloo '
                   f'({errors[-1] if errors else "no error"}): {_ADVICE}')


def main() -> None:
    """Be one of the two: print the other's number."""
    import torch
    from torch import distributed

    rank, port = map(int, sys.argv[1:])
    distributed.init_process_group('gloo', f'tcp://127.0.0.1:{port}', rank=rank, world_size=2)
    numbers = [torch.zeros(1, dtype=torch.int64) for _ in _NUMBERS]
    distributed.all_gather(numbers, torch.tensor([_NUMBERS[rank]]))
    print(int(numbers[1 - rank]), flush=True)
    distributed.destroy_process_group()


if __name__ == '__main__':
    main()
