"""Look at all images of a folder: sizes, depths, broken files, duplicates, statistics.

--out writes how they are to be read, as a config that `amt pretrain FOLDER --pixels FILE` and
`_base_` take: needed for images other than 8-bit photographs. Each image counts the same; windows
leave out half a per cent of the pixels at either end.
"""

from __future__ import annotations

import argparse
import json
import pprint
import shlex
from pathlib import Path

from amt_mm.cli import parse_first

EXAMPLES = """
examples:
  amt statistics photographs
  amt statistics satellite --out satellite.py
  amt statistics stacks --pages channels --out stacks.py
  amt statistics videos --pages frames --out videos.py

then: amt pretrain satellite --pixels satellite.py
"""
# Lines of a list that a terminal shows; JSON has all.
_SHOWN = 5


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLES,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('folder', type=Path, help='folder of images')
    parser.add_argument('--pages', type=_pages, help="meaning of the pages of a TIFF, or frames: "
                        "'channels' of one image, 'frames' if each is an image, or the index of "
                        'the page to read, from 0')
    parser.add_argument('--channel-axis', type=int, choices=(0, -1), help='axis of the channels '
                        'in .npy and .npz (default: the shorter one)')
    parser.add_argument('--out', type=Path, metavar='FILE.py', help='config file to write')
    parser.add_argument('--json', type=Path, metavar='FILE.json', help='file for all findings')
    parser.add_argument('--force', action='store_true', help='replace existing files')
    return parser.parse_args(argv)


def _pages(text: str) -> str | int:
    if text not in ('channels', 'frames') and not text.isdigit():
        raise argparse.ArgumentTypeError("must be 'channels', 'frames' or an index, from 0")
    return int(text) if text.isdigit() else text


if __name__ == '__main__':
    parse_first(parse_args)

from amt_mm.apis import launch
from amt_mm.apis.image_statistics import Statistics, config_fragment, image_statistics
from amt_mm.checkpoints.safe_save import write_text
from amt_mm.errors import InputError
from amt_mm.printable import one_line
from amt_mm.visualization.tables import markdown_table


def main(argv: list[str] | None = None) -> None:
    """Look, print, write."""
    args = parse_args(argv)
    with launch.one_line_errors():
        for path in filter(None, (args.out, args.json)):
            if path.exists() and not args.force:
                raise InputError(f'{path} exists; --force replaces it')
            launch.require_writable(path)
        found = image_statistics(args.folder, args.pages, args.channel_axis)
        print(report(found))
        if args.json:
            write_text(args.json, json.dumps(found.to_json(), indent=2) + '\n')
        if args.out:
            fragment = config_fragment(found, args.pages, args.channel_axis)
            write_text(args.out, config_text(fragment, args.folder))
            print(f'\nwritten: {args.out}')
        folder = shlex.quote(str(args.folder))
        if found.photographs and not args.out:
            print(f'\nnext: amt pretrain {folder}, which reads them as photographs')
        elif found.mixed and not found.photographs:
            print('\nnext: move the files of other kinds, which `others` lists, into folders of '
                  'their own, since a folder is read in one way; grey, coloured and 16-bit '
                  f'photographs may stay together: amt pretrain {folder}')
        elif not found.photographs and not args.out:
            pages = '' if args.pages is None else f' --pages {args.pages}'
            print(f'\nnext: amt statistics {folder}{pages} --out FILE.py, then amt pretrain '
                  f'{folder} --pixels FILE.py')


def config_text(fragment: dict, folder: Path) -> str:
    """Return the settings as a config file."""
    lines = [f'{name} = {pprint.pformat(value, width=96, sort_dicts=False)}\n'
             for name, value in fragment.items()]
    # MMEngine replaces templates before it executes the file, in comments, too.
    name = repr(str(folder)).replace('{{', '{ {')
    return '\n'.join([f'# How the images of {name} are read, by amt statistics.', *lines])


def report(found: Statistics) -> str:
    """Say what was found."""
    total = found.images + len(found.broken)
    extra = sum(len(names) - 1 for names in found.duplicates)
    kinds = ', '.join(f'{kind} with {count} channel(s): {images:,}'
                      for (kind, count), images in found.kinds.items())
    sizes = [f'{height} x {width}: {images:,}' for (height, width), images in found.sizes.items()]
    lines = [f'files       {total:,}, of them {len(found.broken):,} broken, {extra:,} copies of '
             'others',
             f'values      {kinds}',
             f'sizes       {_some(sizes)} (height x width)']
    if not found.photographs:
        lines += [f'others      {kind} with {count} channel(s): {_some(names)}'
                  for (kind, count), names in found.others.items()]
    lines += [f'broken      {one_line(name)}: {why}'
              for name, why in list(found.broken.items())[:_SHOWN]]
    lines += [f'same        {_some(names)}' for names in found.duplicates[:_SHOWN]]
    if not found.channels:
        lines.append('channels    differ between images, so there are no statistics of them')
        return '\n'.join(lines)
    rows = [dict(channel=str(index), low=each.low, first=each.percentiles[0],
                 median=each.percentiles[1], last=each.percentiles[2], high=each.high,
                 mean=each.mean, std=each.std) for index, each in enumerate(found.channels)]
    columns = dict(channel='channel', low='least', first='0.5 %', median='50 %', last='99.5 %',
                   high='greatest', mean='mean in 0..255', std='std in 0..255')
    formats = {name: '.5g' for name in columns if name != 'channel'}
    return '\n'.join([*lines, '', markdown_table(rows, columns, formats).rstrip()])


def _some(texts) -> str:
    shown = ', '.join(map(one_line, texts[:_SHOWN]))
    more = len(texts) - _SHOWN
    return f'{shown} and {more} more (--json FILE has all)' if more > 0 else shown


if __name__ == '__main__':
    main()
