"""launch_processes: which of several processes' statuses is that of the run."""

from pathlib import Path

import pytest
from load_script import load_script
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure

TOOL = Path(__file__).parents[2] / 'tools/launch_processes.py'


@pytest.fixture(scope='module')
def tool():
    return load_script(TOOL)


@pytest.mark.parametrize(('codes', 'status'), [
    ([75, 75], 75), ([1, -15], 1), ([-15, 75], 75), ([-9, -15], 137),
    # Of two that end in one second, the one whose connection was closed is no cause.
    ([1, 2], 2), ([2, 1], 2), ([-15, 2], 2),
    # Ctrl-C: the first one, the second one, and one that only one process has heard.
    ([130, 130], 130), ([-2, -2], 130), ([75, 130], 130)])
def test_the_status_is_that_of_the_cause(tool, codes, status):
    failures = {rank: ProcessFailure(local_rank=rank, pid=9 + rank, exitcode=code,
                                     error_file='') for rank, code in enumerate(codes)}
    for failure in failures.values():
        failure.timestamp = 0
    assert tool.status_of(ChildFailedError('train', failures)) == status
