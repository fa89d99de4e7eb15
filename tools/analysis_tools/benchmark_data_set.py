"""What the number of samples costs beside the maps: data infos, fingerprint, sampler.

Makes data sets of made-up ImageNet-like names, without any image, and measures for one process
of training: loading and serialising the data infos (MMEngine), what they keep and take at most
in memory, what a worker adds by reading them, reading one of them, the data set's fingerprint,
and the permutation of MMEngine's DefaultSampler. All a sample: it should not change with their
number.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

os.environ.setdefault('OMP_NUM_THREADS', '1')

try:
    import amt_mm.registry  # noqa: F401
except ImportError as missing:
    sys.exit(f'error: {missing}. In a clone, `make install` brings all that is needed; then use '
             '.venv/bin/python')

from mmengine.dataset import BaseDataset, DefaultSampler
from tqdm import tqdm

from amt_mm.datasets import dataset_fingerprint
from amt_mm.engine import launch
from amt_mm.saliency import fingerprint
from amt_mm.visualization import write_table

EXAMPLE = """
example, 1.2 GB of memory for a while:
  python tools/analysis_tools/benchmark_data_set.py --samples 128117 1281167
"""
ROOT = 'data/imagenet/train'
COLUMNS = {
    'samples': 'samples', 'load': 'load, us', 'load_peak': 'at most, B', 'kept': 'kept, B',
    'serialised': 'serialised, B', 'worker': 'added by a worker, B', 'read': 'read one, us',
    'fingerprint': 'fingerprint, us', 'hash': 'of it hashing, us', 'sampler': 'sampler, us',
    'sampler_peak': 'at most, B', 'sampler_kept': 'kept, B'}


class MadeUp(BaseDataset):
    """Names as ImageNet's, 1300 a class."""

    def __init__(self, count: int) -> None:
        self.count = count
        super().__init__(data_root=ROOT)

    def load_data_list(self) -> list[dict]:
        """Path and label of each sample."""
        return [{'img_path': f'{ROOT}/n{i // 1300:08d}/n{i // 1300:08d}_{i % 1300}.JPEG',
                 'gt_label': i // 1300} for i in range(self.count)]


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLE,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--samples', type=int, nargs='+', default=[128117, 1281167],
                        help='numbers of samples (default: 128117 1281167)')
    parser.add_argument('--out', type=Path, default='work_dirs/benchmark_data_set',
                        help='write the table to OUT.md and OUT.json '
                        '(default: work_dirs/benchmark_data_set)')
    args = parser.parse_args()
    if min(args.samples) < 1:
        parser.error('--samples must be at least 1')
    return args


def status(name: str) -> int:
    """Bytes of this process by a line of its status: ``'RssAnon'``, ``'VmHWM'`` (highest)."""
    text = Path('/proc/self/status').read_text()
    return int(text.split(f'{name}:')[1].split()[0]) * 1024


def cost(work: Callable[[], object]) -> tuple[object, float, int, int]:
    """Result of a call, processor seconds, and by how many bytes it grew at most and in the end."""
    gc.collect()
    Path('/proc/self/clear_refs').write_text('5')  # the highest use counts from here
    own, whole = status('RssAnon'), status('VmRSS')
    start = time.process_time()
    result = work()
    seconds = time.process_time() - start
    highest = status('VmHWM') - whole
    gc.collect()
    return result, seconds, highest, status('RssAnon') - own


def read_all(dataset: BaseDataset) -> int:
    """Bytes that a forked process no longer shares after reading each data info once."""

    def private() -> int:
        text = Path('/proc/self/smaps_rollup').read_text()
        return int(text.split('Private_Dirty:')[1].split()[0]) * 1024

    before = private()
    for index in range(len(dataset)):
        dataset.get_data_info(index)
    return private() - before


def in_fork(work: Callable[[], int]) -> int:
    """What a call gives in a forked process, as workers of a data loader are."""
    context = multiprocessing.get_context('fork')
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=lambda: sender.send(work()))
    process.start()
    sender.close()
    result = receiver.recv()
    process.join()
    return result


def measure_infos(count: int) -> dict:
    """What data infos and fingerprint cost a sample."""
    dataset, load, load_peak, kept = cost(lambda: MadeUp(count))
    some = range(min(count, 100000))
    _, read, _, _ = cost(lambda: [dataset.get_data_info(i) and None for i in some])
    _, identity, _, _ = cost(lambda: dataset_fingerprint(dataset))
    names = [dataset.get_data_info(i)['img_path'] for i in some]
    _, hashing, _, _ = cost(lambda: fingerprint(names))
    row = {'load': load * 1e6, 'load_peak': load_peak, 'kept': kept,
           'serialised': dataset.data_bytes.nbytes + dataset.data_address.nbytes,
           'worker': in_fork(lambda: read_all(dataset)), 'fingerprint': identity * 1e6}
    return {**{name: value / count for name, value in row.items()},
            'read': read * 1e6 / len(some), 'hash': hashing * 1e6 / len(some)}


def measure_sampler(count: int) -> dict:
    """What an epoch's permutation costs a sample."""
    sampler = DefaultSampler(range(count), shuffle=True, seed=0)
    _, seconds, highest, kept = cost(lambda: iter(sampler))
    row = {'sampler': seconds * 1e6, 'sampler_peak': highest, 'sampler_kept': kept}
    return {name: value / count for name, value in row.items()}


def main() -> None:
    """Measure and print the table."""
    args = parse_args()
    context = multiprocessing.get_context('spawn')
    rows = []
    with launch.one_line_errors():
        launch.require_writable(args.out)
        for count in tqdm(sorted(args.samples), unit='data set', disable=None):
            row = {'samples': count}
            # A process each: what one has freed would hide what the next takes.
            for measure in (measure_infos, measure_sampler):
                # Ctrl-C is for this process.
                with ProcessPoolExecutor(1, context, initializer=signal.signal,
                                         initargs=(signal.SIGINT, signal.SIG_IGN)) as pool:
                    row.update(pool.submit(measure, count).result())
            rows.append(row)
        formats = dict.fromkeys(COLUMNS, '.0f') | {'samples': ''} | dict.fromkeys(
            ('load', 'read', 'fingerprint', 'hash', 'sampler'), '.2f')
        markdown, _ = write_table(args.out, rows, COLUMNS, formats)
        print(markdown.read_text())
        print('a sample each; processor time and memory of one process')


if __name__ == '__main__':
    main()
