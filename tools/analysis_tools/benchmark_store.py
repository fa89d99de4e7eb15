"""What a store of saliency maps costs, by number of samples: time, memory, disk.

Writes made-up maps of each number of samples to a temporary folder, as a refresh does: all in
order, then an eighth of them on the older maps as base. Opens the file, verifies it in one
process and in several that share it, and looks batches of random samples up, with the file in
memory and with it dropped from there. Opening and look-up should not grow with the number of
samples, all else in proportion. The files are deleted at the end.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

os.environ.setdefault('OMP_NUM_THREADS', '1')

try:
    import amt_mm  # noqa: F401
except ImportError as missing:
    sys.exit(f'error: {missing}. In a clone, `make install` brings all that is needed; then use '
             '.venv/bin/python')

import numpy as np
import torch
from tqdm import tqdm

from amt_mm.engine import launch
from amt_mm.errors import InputError
from amt_mm.saliency import SaliencyStore, SaliencyWriter
from amt_mm.saliency.map_file import SCALES, MapHeader
from amt_mm.visualization import write_table

EXAMPLE = """
example, ImageNet-1K and ImageNet-21K, 11 GB of disk for a while:
  python tools/analysis_tools/benchmark_store.py --samples 1281167 14000000
"""
BATCH, ROWS, PARTS, REPEATS = 512, 4096, 8, 25
WRITING = {'samples': 'samples', 'megabytes': 'file, MB', 'write': 'write all, s',
           'commit': 'commit, s', 'processor': 'processor, s',
           'part': f'write 1/{PARTS} on a base, commit, s', 'part_processor': 'processor, s',
           'memory': 'own memory, MB'}
READING = {'samples': 'samples', 'times': 'samples, ratio', 'open': 'open, ms',
           'open_ratio': 'ratio', 'verify': 'verify, s', 'shared': 'verify in {} parts, s',
           'verify_cold': 'verify from disk, s', 'lookup': f'look {BATCH} up, ms',
           'lookup_ratio': 'ratio', 'lookup_cold': 'from disk, ms', 'memory': 'own memory, MB',
           'mapped': 'mapped, MB'}
FORMATS = {'samples': '', 'megabytes': '.0f', 'times': '.1f', 'memory': '.1f', 'mapped': '.1f'}


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLE,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--samples', type=int, nargs='+', default=[1281167],
                        help='numbers of samples (default: 1281167, ImageNet-1K)')
    parser.add_argument('--grid', type=int, nargs=2, default=(14, 14), metavar=('ROWS', 'COLUMNS'),
                        help='of a map (default: 14 14)')
    parser.add_argument('--dtype', choices=list(SCALES), default='float16',
                        help='type of the stored maps (default: float16)')
    parser.add_argument('--processes', type=int, default=2,
                        help='that share the verification (default: 2)')
    parser.add_argument('--folder', type=Path, default=Path('work_dirs'),
                        help='where the files lie meanwhile: its disk is measured '
                        '(default: work_dirs)')
    parser.add_argument('--out', type=Path, default='work_dirs/benchmark_store',
                        help='write the tables to OUT-writing and OUT-reading, .md and .json '
                        '(default: work_dirs/benchmark_store)')
    args = parser.parse_args()
    if min(*args.samples, *args.grid, args.processes) < 1:
        parser.error('--samples, --grid and --processes must be at least 1')
    return args


def check_space(folder: Path, header: MapHeader) -> None:
    """Refuse what does not fit: two files, the one written and its base, at the same time."""
    needed, free = 2 * header.file_bytes, shutil.disk_usage(folder).free
    if needed > free:
        raise InputError(f'{folder}: {header.num_samples} samples need {needed / 1e9:.1f} GB of '
                         f'disk, {free / 1e9:.1f} GB are free; give fewer --samples, or another '
                         '--folder')


def seconds(work: Callable[[], object]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def memory(kind: str) -> int:
    """Resident bytes of this process: ``'Anon'``, its own, or ``'File'``, pages of files."""
    status = Path('/proc/self/status').read_text()
    return int(status.split(f'Rss{kind}:')[1].split()[0]) * 1024


def drop(path: Path) -> bool:
    """Take a file, mapped by nobody, out of the machine's memory; whether that worked."""
    with open(path, 'rb', buffering=0) as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        places = np.linspace(0, path.stat().st_size - 1, 64).astype(int)
        return not any(_in_memory(file.fileno(), int(place)) for place in places)


def _in_memory(descriptor: int, place: int) -> bool:
    try:
        return os.preadv(descriptor, [bytearray(1)], place, os.RWF_NOWAIT) > 0
    except BlockingIOError:
        return False
    except OSError:  # a file system that always answers from memory, or cannot tell
        return True


def batches(count: int, cells: int, step: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Indices and made-up maps of every ``step``-th sample, in order."""
    maps = torch.rand(ROWS, cells, generator=torch.Generator().manual_seed(0))
    for start in range(0, count, step * ROWS):
        rows = torch.arange(start, min(start + step * ROWS, count), step)
        yield rows, maps[:len(rows)]


def write(path: Path, header: MapHeader, base: SaliencyStore | None, bar: tqdm) -> dict:
    """Write one file; with a base, each eighth sample of it."""
    before = memory('Anon')
    start, busy = time.perf_counter(), time.process_time()
    writer = SaliencyWriter(path, header.num_samples, header.grid, header.fingerprint, header.step,
                            header.dtype, base)
    step = 1 if base is None else PARTS
    for rows, maps in batches(header.num_samples, header.grid[0] * header.grid[1], step):
        writer.write(rows, maps)
        bar.update(len(rows))
    written = time.perf_counter()
    own = memory('Anon') - before
    writer.commit()
    bar.update(header.num_samples)
    return {'write': written - start, 'commit': time.perf_counter() - written,
            'processor': time.process_time() - busy, 'memory': own}


def verify(path: Path, part: int, parts: int) -> None:
    """Open a file and verify a part of it."""
    SaliencyStore(path, share=(part, parts))


def random_rows(count: int) -> Iterator[torch.Tensor]:
    """Some batches of random samples."""
    chance = torch.Generator().manual_seed(0)
    for _ in range(REPEATS):
        yield torch.randint(count, (BATCH, ), generator=chance)


def lookups_in_memory(path: Path) -> tuple[float, int, int]:
    """Median seconds of a look-up, and what an open store holds: own and mapped bytes."""
    own, mapped = memory('Anon'), memory('File')
    store = SaliencyStore(path, share=None)
    # The first time maps the pages; another process may push some out meanwhile.
    times = [[seconds(lambda rows=rows: store.lookup(rows))
              for rows in random_rows(store.num_samples)] for _ in range(4)]
    return float(np.median(times, axis=1).min()), memory('Anon') - own, memory('File') - mapped


def lookups_from_disk(path: Path) -> float | None:
    """Median seconds of the first look-up after opening, with nothing of the file in memory."""
    times = []
    for rows in random_rows(SaliencyStore(path, share=None).num_samples):
        if not drop(path):
            return None
        store = SaliencyStore(path, share=None)
        times.append(seconds(lambda rows=rows, store=store: store.lookup(rows)))
        del store  # else its pages could not be dropped
    return float(np.median(times))


def read(path: Path, header: MapHeader, processes: int, bar: tqdm) -> dict:
    """Open, verify and look up; the file is in memory to begin with."""
    row: dict = {}
    row['open'] = float(np.median([seconds(lambda: SaliencyStore(path, share=None))
                                   for _ in range(REPEATS)]))
    row['verify'] = seconds(lambda: verify(path, 0, 1))
    bar.update(header.num_samples)
    context = multiprocessing.get_context('fork')
    # Ctrl-C is for this process.
    with ProcessPoolExecutor(processes, context, initializer=signal.signal,
                             initargs=(signal.SIGINT, signal.SIG_IGN)) as pool:
        list(pool.map(time.sleep, [.1] * processes))  # all are there
        row['shared'] = seconds(lambda: list(pool.map(
            verify, [path] * processes, range(processes), [processes] * processes)))
    bar.update(header.num_samples)
    row['lookup'], row['memory'], row['mapped'] = lookups_in_memory(path)
    row['lookup_cold'] = lookups_from_disk(path)
    row['verify_cold'] = seconds(lambda: verify(path, 0, 1)) if drop(path) else None
    bar.update(header.num_samples)
    return row


def measure(folder: Path, header: MapHeader, processes: int, bar: tqdm) -> tuple[dict, dict]:
    """One row of each table."""
    path, other = folder / 'maps', folder / 'other'
    whole = write(path, header, None, bar)
    base = SaliencyStore(path, share=None)
    part = write(other, header, base, bar)
    del base
    other.unlink()
    writing = {'samples': header.num_samples, 'megabytes': path.stat().st_size / 1e6,
               **whole, 'part': part['write'] + part['commit'],
               'part_processor': part['processor']}
    reading = {'samples': header.num_samples, **read(path, header, processes, bar)}
    path.unlink()
    for row, name in ((writing, 'memory'), (reading, 'memory'), (reading, 'mapped')):
        row[name] /= 1e6
    for name in ('open', 'lookup', 'lookup_cold'):
        reading[name] = None if reading[name] is None else reading[name] * 1e3
    return writing, reading


def main() -> None:
    """Measure and print the tables."""
    args = parse_args()
    torch.set_num_threads(1)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # else the files would stay
    headers = [MapHeader.new(count, tuple(args.grid), args.dtype, 'made up', 0)
               for count in sorted(args.samples)]
    with launch.one_line_errors():
        launch.require_writable(args.out)
        args.folder.mkdir(parents=True, exist_ok=True)
        check_space(args.folder, headers[-1])
        total = sum(6 * header.num_samples - header.num_samples * (PARTS - 1) // PARTS
                    for header in headers)
        with (tempfile.TemporaryDirectory(dir=args.folder) as folder,
              tqdm(total=total, unit='map', unit_scale=True, disable=None) as bar):
            rows = [measure(Path(folder), header, args.processes, bar) for header in headers]
        writing, reading = map(list, zip(*rows, strict=True))
        for row in reading:
            row['times'] = row['samples'] / reading[0]['samples']
            for name in ('open', 'lookup'):
                row[f'{name}_ratio'] = row[name] / reading[0][name]
        columns = {name: text.format(args.processes) for name, text in READING.items()}
        for name, table, heads in (('writing', writing, WRITING), ('reading', reading, columns)):
            formats = {key: FORMATS.get(key, '.2f') for key in heads}
            markdown, _ = write_table(args.out.with_name(f'{args.out.name}-{name}'), table, heads,
                                      formats)
            print(markdown.read_text())
        print(f'maps of {args.grid[0]} x {args.grid[1]}, {args.dtype}')


if __name__ == '__main__':
    main()
