"""Two processes of one gloo group, forked: no second start of the interpreter."""

import os
import pickle
import traceback

from torch import distributed


def in_two_processes(work, folder):
    """What ``work(rank)`` returns in each of two processes; fails where one of them does."""
    children = []
    for rank in (0, 1):
        child = os.fork()
        if child == 0:
            _child(work, folder, rank)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
    done = [pickle.loads((folder / f'rank{rank}.pkl').read_bytes()) for rank in (0, 1)]
    for rank, (_, failure) in enumerate(done):
        assert failure is None, f'rank {rank}:\n{failure}'
    return [result for result, _ in done]


def _child(work, folder, rank):
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE='2')
    result = failure = None
    try:
        distributed.init_process_group('gloo', init_method=f'file://{folder}/group', rank=rank,
                                       world_size=2)
        result = work(rank)
        distributed.barrier()
    except BaseException:
        failure = traceback.format_exc()
    (folder / f'rank{rank}.pkl').write_bytes(pickle.dumps((result, failure)))
    os._exit(0)
