"""RankResultHook: one file of metrics per process."""

from types import SimpleNamespace

import pytest
from mmengine.hooks import LoggerHook

from amt_mm.hooks import RankResultHook


@pytest.mark.parametrize('rank, path', [(0, 'now.json'), (1, 'rank_1/now.json')])
def test_each_process_has_a_file_and_the_first_the_usual_one(rank, path):
    logger = LoggerHook()
    logger.json_log_path = 'now.json'
    RankResultHook().before_test_epoch(
        SimpleNamespace(rank=rank, timestamp='now', hooks=[RankResultHook(), logger]))
    assert logger.json_log_path == path
