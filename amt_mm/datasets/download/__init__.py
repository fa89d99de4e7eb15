"""Files of public data sets: locations, download, verification, unpacking."""

from .fetching import fetch, verify
from .ilsvrc import DEVKIT, TRAIN, VAL, Archive, unpack_train, unpack_val
from .sources import SOURCES, Source, archived_file, clone_command, damaged, download_command
from .unpacking import unpack

__all__ = [
    'Archive', 'DEVKIT', 'SOURCES', 'Source', 'TRAIN', 'VAL', 'archived_file', 'clone_command',
    'damaged', 'download_command', 'fetch', 'unpack', 'unpack_train', 'unpack_val', 'verify'
]
