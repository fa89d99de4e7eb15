"""Get the files of a public data set: fetched, verified by their md5, unpacked.

An interrupted download goes on where it stopped, an interrupted unpacking leaves nothing
half done, and existing data is not changed: run the same command again at any time.
ImageNet-1K needs an account: fetch its three archives and give them with --archive.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from amt_mm.cli import parse_first
from amt_mm.names import DOWNLOADS

EXAMPLE = """
examples:
  amt download cifar10 cifar100 stl10 tiny-imagenet --root data
  amt download cifar10 --archive ~/cifar-10-python.tar.gz
  amt download stl10 --url https://MIRROR/stl10_binary.tar.gz
  amt download imagenet --root data --archive \\
      ILSVRC2012_img_train.tar ILSVRC2012_img_val.tar ILSVRC2012_devkit_t12.tar.gz
"""
IMAGENET_PAGE = 'https://www.image-net.org/challenges/LSVRC/2012/2012-downloads.php'


def parse_args() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLE,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('names', nargs='+', choices=[*DOWNLOADS, 'imagenet'], metavar='NAME',
                        help=f'{", ".join(DOWNLOADS)} or imagenet')
    parser.add_argument('--root', type=Path, default='data', help='folder for the data sets, with '
                        'a subfolder for each (default: data, where the configs look)')
    parser.add_argument('--url', help='another address of the same archive')
    parser.add_argument('--archive', type=Path, nargs='+', metavar='FILE',
                        help='archives that you already have; they are not moved')
    args = parser.parse_args()
    if len(args.names) > 1 and (args.url or args.archive or 'imagenet' in args.names):
        parser.error('imagenet, --url and --archive need a single NAME')
    if args.url and (args.archive or args.names == ['imagenet']):
        parser.error('--url is for a download: it excludes --archive and imagenet')
    if args.archive and len(args.archive) > 1 and args.names != ['imagenet']:
        parser.error(f'{args.names[0]} is one archive')
    return args


if __name__ == '__main__':
    parse_first(parse_args)

from amt_mm.apis.launch import GOES_ON, one_line_errors
from amt_mm.datasets import download
from amt_mm.datasets.download import DEVKIT, SOURCES, TRAIN, VAL, Source
from amt_mm.errors import InputError
from amt_mm.file_lock import file_lock


def get_archived(name: str, root: Path, url: str | None, archive: Path | None) -> None:
    """Fetch, verify and unpack a data set of one archive."""
    source = SOURCES[name]
    root = root / source.holder
    # Two commands would unpack into one folder.
    with file_lock(root):
        if not is_there(root / source.folder):
            _get(source, name, root, url, archive)


def _get(source: Source, name: str, root: Path, url: str | None, archive: Path | None) -> None:
    path = archive or root / source.filename
    fetched = not archive and not path.exists()
    if fetched:
        print(f'{name}: fetching {source.size / 1e6:.0f} MB from {url or source.url}')
        download.fetch(url or source.url, path, source.size, source.md5)
    else:
        download.verify(path, source.md5)
    download.unpack(path, source.folder, root)
    # Only what this call has brought; a file of the user's stays.
    if fetched:
        path.unlink()
    print(f'{name}: {root / source.folder} is complete')


def get_imagenet(root: Path, archives: list[Path]) -> None:
    """Verify and unpack what is given of ImageNet's archives."""
    wanted = {archive.filename: archive for archive in (TRAIN, VAL, DEVKIT)}
    given = {path.name: path for path in archives}
    for name, path in given.items():
        if name not in wanted:
            raise InputError(f'{path}: is not one of {", ".join(wanted)}; keep the names that '
                             'the archives have on the page')
    if not given.keys() & {TRAIN.filename, VAL.filename}:
        files = ', '.join(f'{archive.filename} ({archive.size})' for archive in wanted.values())
        raise InputError(f'imagenet needs an account: sign in at {IMAGENET_PAGE}, fetch {files}, '
                         'and give them with --archive FILE FILE FILE')
    if VAL.filename in given and DEVKIT.filename not in given:
        raise InputError(f'{VAL.filename} has no labels: give {DEVKIT.filename}, which has them, '
                         f'with --archive too ({IMAGENET_PAGE})')
    with file_lock(root):
        if TRAIN.filename in given and not is_there(root / 'train'):
            path = checked(given, TRAIN)
            print(f'imagenet: {root / "train"} has {download.unpack_train(path, root)} images')
        if VAL.filename in given and not is_there(root / 'val'):
            path, devkit = checked(given, VAL), checked(given, DEVKIT)
            print(f'imagenet: {root / "val"} has {download.unpack_val(path, devkit, root)} images')


def is_there(target: Path) -> bool:
    """Whether a folder is in its place; says so."""
    if target.exists():
        print(f'{target} exists, nothing to do (move it away to download it again)')
    return target.exists()


def checked(given: dict[str, Path], archive: download.Archive) -> Path:
    """The file given for an archive, verified."""
    download.verify(given[archive.filename], archive.md5)
    return given[archive.filename]


def main() -> None:
    """Get each data set in turn."""
    args = parse_args()
    with one_line_errors(GOES_ON):
        if args.names == ['imagenet']:
            get_imagenet(args.root / 'imagenet', args.archive or [])
        else:
            for name in args.names:
                archive = args.archive[0] if args.archive else None
                get_archived(name, args.root, args.url, archive)


if __name__ == '__main__':
    main()
