"""Getting the files of public data sets: where they are, fetching, checking, unpacking."""

from .fetching import fetch, verify
from .ilsvrc import DEVKIT, TRAIN, VAL, Archive, unpack_train, unpack_val
from .sources import SOURCES, Source, download_command
from .unpacking import unpack

__all__ = [
    'Archive', 'DEVKIT', 'SOURCES', 'Source', 'TRAIN', 'VAL', 'download_command', 'fetch', 'unpack',
    'unpack_train', 'unpack_val', 'verify'
]
