"""A script in two processes that exchange by gloo, with the environment that torchrun gives."""

import os
from contextlib import ExitStack
from datetime import timedelta

from forked_script import started
from torch.distributed import TCPStore


def in_two_real_processes(script, *arguments, timeout=120):
    """See both end well, and give what they printed."""
    # torchrun's, too, is a store of its own process, whose port nobody else can take.
    store = TCPStore('127.0.0.1', 0, is_master=True, wait_for_workers=False,
                     timeout=timedelta(seconds=timeout))
    common = dict(os.environ, WORLD_SIZE='2', LOCAL_WORLD_SIZE='2', MASTER_ADDR='127.0.0.1',
                  MASTER_PORT=str(store.port), TORCHELASTIC_USE_AGENT_STORE='True',
                  TORCHELASTIC_RESTART_COUNT='0', OMP_NUM_THREADS='1')
    with ExitStack() as stack:
        processes = [stack.enter_context(started(
            script, *arguments, env={**common, 'RANK': rank, 'LOCAL_RANK': rank}))
            for rank in '01']
        for process in processes:
            process.join(timeout)
        for process in processes:
            assert process.exitcode == 0, process.stderr.read_text()[-4000:]
        return ''.join(process.stdout.read_text() for process in processes)
