"""Time and memory of one training process by the number of samples, without images.

For each number, in fresh processes: the start on a list like ImageNet's (amt_mm.ImageNet: listing,
fingerprint; then MMEngine's shuffled order of an epoch), and a file of artificial saliency maps:
written whole, an eighth on top of the older file (a refresh with parts=8), verified as on resume,
opened, and looked up in batches of random samples, with the file cached in memory and not. The
slope is that of a line through the logarithms: 1 is in proportion to the number, 0 does not grow.
All files are deleted at the end.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from amt_mm.cli import parse_first
from amt_mm.names import MAP_TYPES

os.environ.setdefault('OMP_NUM_THREADS', '1')


EXAMPLE = """
example, 8 GB of disk and of memory for a while:
  python -m lab.growth --samples 10000 100000 1000000 10000000
"""


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser('python -m lab.growth', description=__doc__, epilog=EXAMPLE,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--samples', type=int, nargs='+', default=[10**4, 10**5, 10**6],
                        help='numbers of samples (default: 10000 100000 1000000)')
    parser.add_argument('--grid', type=int, nargs=2, default=(14, 14), metavar=('ROWS', 'COLUMNS'),
                        help='of a map (default: 14 14)')
    parser.add_argument('--dtype', choices=MAP_TYPES, default='float16',
                        help='type of the stored maps (default: float16)')
    parser.add_argument('--folder', type=Path, default=Path('work_dirs'),
                        help='where the files lie meanwhile: its disk is measured '
                        '(default: work_dirs)')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/growth'),
                        help='write the tables to OUT.md, all values to OUT.json and the plot to '
                        'OUT.svg and OUT.png (default: %(default)s)')
    args = parser.parse_args()
    if min(*args.samples, *args.grid) < 1:
        parser.error('--samples and --grid must be at least 1')
    return args


if __name__ == '__main__':
    parse_first(parse_args)

import json
import multiprocessing
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict

from tqdm import tqdm

from amt_mm.apis import launch
from amt_mm.errors import InputError
from amt_mm.saliency.map_file import MapHeader
from amt_mm.visualization.figures import save_figure
from amt_mm.visualization.tables import markdown_table
from lab.growth.cost import Cost
from lab.growth.curves import memory_rows, plot, time_rows
from lab.growth.data_set import LISTING, measure_data_set, write_list
from lab.growth.maps import measure_maps


def check_space(folder: Path, header: MapHeader) -> None:
    """Refuse what does not fit on the disk: a file and its base at the same time."""
    needed, free = 2 * header.file_bytes, shutil.disk_usage(folder).free
    if needed > free:
        raise InputError(f'{folder}: {header.num_samples} samples need {needed / 1e9:.1f} GB of '
                         f'disk, {free / 1e9:.1f} GB are free; give fewer --samples, or another '
                         '--folder')


def memory_suffices(count: int) -> bool:
    """Whether the samples of a list fit in memory; says so where they do not."""
    text = Path('/proc/meminfo').read_text()
    free = int(text.split('MemAvailable:')[1].split()[0]) * 1024
    if LISTING * count > free:
        launch.warn(f'{count} samples in a list need {LISTING * count / 1e9:.1f} GB of memory, '
                    f'{free / 1e9:.1f} GB are free: the start is not measured')
    return LISTING * count <= free


def alone(measure: Callable[..., dict], *args: object) -> dict:
    """Result of a call in a fresh process: what an earlier one has freed would hide memory."""
    # Ctrl-C is for this process.
    with ProcessPoolExecutor(1, multiprocessing.get_context('spawn'), initializer=signal.signal,
                             initargs=(signal.SIGINT, signal.SIG_IGN)) as pool:
        return pool.submit(measure, *args).result()


def measure(header: MapHeader, folder: Path) -> dict[str, Cost | None]:
    """All costs of one number of samples."""
    count, found = header.num_samples, {}
    if memory_suffices(count):
        root = write_list(folder / f'list-{count}', count)
        found = alone(measure_data_set, count, root)
        shutil.rmtree(root)
    return {**found, **alone(measure_maps, header, folder)}


def write_growth(out: Path, found: dict[int, dict[str, Cost | None]], setting: dict) -> Path:
    """Write tables, values and plot; return the path of the tables."""
    passed, memory = time_rows(found, 'seconds'), memory_rows(found)
    text = ''
    for title, rows, digits in (('time passed, s', passed, '.2g'),
                                ('processor time, s', time_rows(found, 'processor'), '.2g'),
                                ('memory of one process, MB', memory, '.0f')):
        columns = {'name': title, **{str(count): f'{count:,}' for count in found},
                   'slope': 'slope'}
        formats = {**{str(count): digits for count in found}, 'slope': '.2f'}
        text += markdown_table(rows, columns, formats) + '\n'
    content = {**setting, 'costs': [
        {'samples': count, **{name: each and asdict(each) for name, each in costs.items()}}
        for count, costs in found.items()]}
    markdown = out.with_name(f'{out.name}.md')
    markdown.write_text(text, encoding='utf-8')
    out.with_name(f'{out.name}.json').write_text(json.dumps(content, indent=1) + '\n',
                                                 encoding='utf-8')
    save_figure(plot(passed, memory), out)
    return markdown


def main() -> None:
    """Measure and print the tables."""
    args = parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # else the files would stay
    headers = [MapHeader.new(count, tuple(args.grid), args.dtype, 'made up', 0)
               for count in sorted(set(args.samples))]
    with launch.one_line_errors():
        launch.require_writable(args.out)
        args.folder.mkdir(parents=True, exist_ok=True)
        check_space(args.folder, headers[-1])
        with tempfile.TemporaryDirectory(dir=args.folder) as folder:
            found = {header.num_samples: measure(header, Path(folder))
                     for header in tqdm(headers, unit='size', disable=None)}
        markdown = write_growth(args.out, found, dict(grid=list(args.grid), dtype=args.dtype))
        print(markdown.read_text())
        print(f'maps of {args.grid[0]} x {args.grid[1]}, {args.dtype}; a file of '
              f'{headers[-1].num_samples} has {headers[-1].file_bytes / 1e6:.0f} MB. '
              f'Also in {markdown}, with .json, .svg and .png beside it')


if __name__ == '__main__':
    main()
