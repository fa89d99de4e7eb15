"""The start on many samples: a list that is ImageNet's, and what it costs."""

import json
import subprocess
import sys

import numpy as np
import pytest

from amt_mm.datasets import ImageNet, dataset_fingerprint
from amt_mm.saliency import fingerprint
from lab.growth.data_set import in_fork, read_all, write_list


def test_the_list_is_that_of_an_imagenet(tmp_path):
    dataset = ImageNet(str(write_list(tmp_path / 'list', 1302)), 'train')
    assert len(dataset) == 1302
    info = dataset.get_data_info(1301)
    assert info['img_path'] == f'{tmp_path}/list/train/n00000001/n00000001_1.JPEG'
    assert info['gt_label'] == 1
    assert dataset_fingerprint(dataset) == fingerprint(
        f'train/n{i // 1300:08d}/n{i // 1300:08d}_{i % 1300}.JPEG' for i in range(1302))


def test_what_a_worker_changes_is_counted_and_what_it_reads_is_not():
    class Samples(list):
        content = np.ones(2**21)  # 16 MiB

        def __init__(self, work):
            super().__init__([0])
            self.get_data_info = lambda index: work(self.content)

    changed = in_fork(lambda: read_all(Samples(lambda content: content.fill(2))))
    assert changed == pytest.approx(2**24, rel=.1)
    assert in_fork(lambda: read_all(Samples(np.sum))) < 2**21


@pytest.mark.slow
def test_costs_of_a_sample(tmp_path):
    """In a process of its own: one that has freed memory before takes less from the system."""
    root = write_list(tmp_path / 'list', 100_000)
    code = ('import dataclasses, json, pathlib; from lab.growth.data_set import measure_data_set; '
            f'found = measure_data_set(100_000, pathlib.Path({str(root)!r})); '
            'print(json.dumps({name: dataclasses.asdict(each) for name, each in found.items()}))')
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    # A path of 45 letters and more, two keys, a label; while listing, a dict and its strings.
    assert 100_000 * 80 < found['list']['kept'] < found['list']['highest'] < 100_000 * 1000
    # Integers of 32 bytes in a list of 8-byte pointers.
    assert 100_000 * 20 < found['order']['kept'] < 100_000 * 80
    assert found['worker']['highest'] < 2e6
    assert found['fingerprint']['processor'] > 0
