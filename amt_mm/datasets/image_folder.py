"""Any folder of images, with or without class subfolders."""

from __future__ import annotations

import hashlib
import os.path as osp
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from typing import Any

from mmengine.fileio import LocalBackend, get_file_backend
from mmengine.logging import MMLogger
from mmpretrain.datasets import CustomDataset
from tqdm import tqdm

from amt_mm.checks import check_choice
from amt_mm.errors import InputError, UnreadableImage
from amt_mm.registry import DATASETS

from .dicom import DICOM
from .download import clone_command
from .files_below import files_below
from .frames import file_version, frame_names, split_frame
from .load_pixels import LoadPixels
from .loading import LoadImage
from .pixel_arrays import NUMPY

_SHOWN_KINDS = 4
_WARNED: set[str] = set()
# What is wrong with a file, or None: several data sets of a process read the same files.
_FAULTS: dict[tuple, str | None] = {}
_HEIC = ('.heic', '.heif')
EXTENSIONS = ('.jpg', '.jpeg', '.jpe', '.jfif', '.png', '.bmp', '.ppm', '.pgm', '.pnm', '.tif',
              '.tiff', '.webp', '.gif', '.avif', '.jp2',
              *(_HEIC if find_spec('pillow_heif') else ()))
# With LoadPixels.
ALL_EXTENSIONS = (*EXTENSIONS, *NUMPY, *DICOM)
_SPLIT_FOLDERS = {'train': ('train', 'training'), 'val': ('val', 'valid', 'validation'),
                  'test': ('test', 'testing')}


@DATASETS.register_module()
class ImageFolder(CustomDataset):
    """The images below a folder; its subfolders, if any, are the classes.

    Recognises three layouts::

        root/a.jpg               no labels
        root/cat/a.jpg           label by the first subfolder; deeper ones belong to it; a single
                                 subfolder is not a class
        root/train/cat/a.jpg     the same below `train` and `val` (`test` is ignored), or below
                                 `train` and `test`, which then is the `val` split; `test` is
                                 ignored, too, if it alone has no classes

    Hidden files and folders (leading dot) are ignored, extensions are compared without case, and
    samples are in the order of their sorted relative paths. Classes are numbered over all images
    found, so the splits of one folder agree on them.

    With ``pages='frames'`` of :class:`LoadPixels`, each frame of a file is a sample, whose
    ``img_path`` is such as ``scan.tif#12``, counted from 0 by the headers. The hash takes all
    frames of a file into the same split, because neighbouring ones show nearly the same.

    Args:
        data_root: The folder.
        data_prefix: A folder below ``data_root``. Defaults to ''.
        split: ``'train'``, ``'val'`` or ``'all'``, both of them; None for every image, whatever its
            folder is called. Defaults to ``'all'``. Folders named train and val or test (in any
            case) define the splits if two of them are used; otherwise a hash of its relative path
            assigns each image, so that adding or removing others does not change it.
        val_fraction: Expected fraction of ``'val'`` under the hash, in (0, 1). Defaults to 0.2.
        with_label: False uses all images below the folder without labels, True requires class
            subfolders. Defaults to None: as the layout says.
        extensions: Of the files to use. Defaults to None: what the pipeline's first transform
            reads, :class:`amt_mm.datasets.LoadImage` or :class:`amt_mm.datasets.LoadPixels`.
        frames: Whether each frame of a file is a sample. Defaults to None: as ``pages`` of the
            pipeline's first transform says.
        first_of_class: Use only this many first files of each class of the split. Defaults to
            None: all.
        skip_unreadable: Decode all files at start and leave unreadable ones out, with a warning
            each. Defaults to False, because it takes as long as reading the data set once and
            unreadable files stop the run with their name anyway.
        **kwargs: Of :class:`mmpretrain.datasets.CustomDataset`: ``pipeline``, ``metainfo``,
            ``classes``, ``indices``, ``test_mode``, ``lazy_init``, ...

    Raises:
        InputError: The folder is missing, has no image (readable, or in the split), mixes
            images and class folders, or has other folders next to train and val (unless all
            images are wanted without labels); or the number of classes given differs from that
            of the subfolders.
    """

    def __init__(self, data_root: str = '', data_prefix: str | dict = '',
                 split: str | None = 'all', val_fraction: float = 0.2,
                 with_label: bool | None = None, extensions: Sequence[str] | None = None,
                 frames: bool | None = None, first_of_class: int | None = None,
                 skip_unreadable: bool = False, **kwargs) -> None:
        check_choice('split', split, ('all', 'train', 'val', None))
        if not 0 < val_fraction < 1:
            raise InputError(f'val_fraction={val_fraction}: must be between 0 and 1.')
        if not data_root and not data_prefix:
            raise InputError('data_root is empty: set it to the folder of the images.')
        if first_of_class is not None and first_of_class < 1:
            raise InputError(f'first_of_class={first_of_class} must be at least 1')
        pixels = _pixels(kwargs.get('pipeline'))
        if extensions is None:
            extensions = EXTENSIONS if pixels is None else ALL_EXTENSIONS
        self.frames = (pixels or {}).get('pages') == 'frames' if frames is None else frames
        self.split = split
        self.val_fraction = val_fraction
        self.first_of_class = first_of_class
        self.skip_unreadable = skip_unreadable
        self.left_out = 0  # unreadable images
        super().__init__(data_root=osp.expanduser(data_root), data_prefix=data_prefix, ann_file='',
                         with_label=with_label, extensions=extensions, **kwargs)

    @property
    def _folder(self) -> str:
        """The folder as messages name it, without the slash that MMEngine adds."""
        return self.img_prefix.rstrip('/')

    def _find_samples(self) -> list:
        """List relative paths, with labels if any, for the parent's ``load_data_list``."""
        paths = self._list_images()
        parts = self._split_folders(paths)
        # Split folders move the classes one level down.
        level = 1 if parts else 0
        held_out = 'val' if 'val' in parts.values() else 'test'
        if held_out == 'val' or self._only_test_lacks_classes(paths, parts):
            paths = [p for p in paths if parts[p[0]] != 'test']
        labels = self._find_labels(paths, level)
        if len({parts.get(p[0]) for p in paths}) > 1:
            own = {'all': ('train', 'val'), 'train': ('train', ), 'val': (held_out, )}[self.split]
            chosen = [parts[p[0]] in own for p in paths]
        else:
            chosen = [self.split in ('all', None, self._hashed_split(p)) for p in paths]
        paths = [p for p, take in zip(paths, chosen, strict=True) if take]
        if self.first_of_class is not None:
            paths = self._take_first(paths, level)
        if not paths:
            raise InputError(
                f'{self._folder}: none of its {len(chosen)} images is in split={self.split!r}, '
                f'where a hash of its name puts each (val_fraction={self.val_fraction}): add '
                'images, or sort them into folders train and val')
        names = ['/'.join(p) for p in paths]
        frames = (self._of_all(names, 'Counting frames', frame_names) if self.frames
                  else [[name] for name in names])
        samples = [(name, labels[p[level]]) if self.with_label else name
                   for p, own in zip(paths, frames, strict=True) for name in own]
        return self._readable(samples) if self.skip_unreadable else samples

    def _list_images(self) -> list[tuple[str, ...]]:
        """List the images below the folder as sorted relative paths, in parts."""
        backend = get_file_backend(self.img_prefix, enable_singleton=True)
        if not backend.isdir(self._folder):
            what = 'is not a folder' if backend.exists(self._folder) else 'does not exist'
            command = clone_command(self.data_root) if not osp.exists(self.data_root) else None
            raise InputError(f'{self._folder}: {what}; '
                             + (f'get the data set by: {command}; or ' if command else '')
                             + 'give the folder of the images (data_root in a config).')
        files = (files_below(self._folder) if isinstance(backend, LocalBackend) else (
            tuple(file.split('/')) for file in backend.list_dir_or_file(
                self.img_prefix, list_dir=False, list_file=True, recursive=True)))
        files = [parts for parts in files if not any(part.startswith('.') for part in parts)]
        paths = sorted(parts for parts in files if self.is_valid_file(parts[-1]))
        self._say_what_is_left_out(files)
        if not paths:
            raise InputError(f'{self._folder}: no image in this folder or below it; looked for '
                             f'{" ".join(sorted(self.extensions))}.')
        return paths

    def _say_what_is_left_out(self, files: list[tuple[str, ...]]) -> None:
        """Warn, once for each folder, of files whose extension is not one of an image."""
        kinds = Counter(osp.splitext(parts[-1])[1].lower() or 'without extension'
                        for parts in files if not self.is_valid_file(parts[-1]))
        if not kinds or self._folder in _WARNED:
            return
        _WARNED.add(self._folder)
        shown = ', '.join(f'{count} {kind}' for kind, count in kinds.most_common(_SHOWN_KINDS))
        more = f' and {len(kinds) - _SHOWN_KINDS} other kinds' * (len(kinds) > _SHOWN_KINDS)
        how = '; to use HEIC: pip install pillow-heif' * bool(set(_HEIC) & set(kinds))
        how += ('; to use arrays and DICOM: set pixels (docs/own_images.md)'
                * bool({*NUMPY, *DICOM} & set(kinds)))
        MMLogger.get_current_instance().warning(
            f'{self._folder}: {sum(kinds.values())} file(s) left out, not images that can be read '
            f'here ({shown}{more}){how}')

    def _split_folders(self, paths: list[tuple[str, ...]]) -> dict[str, str]:
        """Map top-level folders to ``'train'``, ``'val'`` or ``'test'``; empty without splits."""
        if self.split is None:
            return {}
        # Includes the names of images directly in the root.
        top = {p[0] for p in paths}
        parts = split_folders(top)
        others = sorted(top - set(parts))
        if not parts or not others:
            return parts
        # All images of a folder without labels need no split.
        if self.with_label is False and self.split == 'all':
            return {}
        raise InputError(
            f'{self._folder}: {others[0]} is next to the splits {" and ".join(sorted(parts))}: '
            'move it away, or set data_prefix')

    def _only_test_lacks_classes(self, paths: list[tuple[str, ...]], parts: dict[str, str]) -> bool:
        """Whether the images of test are to be predicted, as in competitions; warn, once."""
        deep = {part: {len(p) > 2 for p in paths if parts.get(p[0]) == part}
                for part in ('train', 'test')}
        if self.with_label is False or deep != {'train': {True}, 'test': {False}}:
            return False
        name = next(name for name, part in parts.items() if part == 'test')
        if (folder := f'{self._folder}/{name}') not in _WARNED:
            _WARNED.add(folder)
            MMLogger.get_current_instance().warning(
                f'{folder}: left out, its images are in no class subfolders, as those for training '
                f'are; a share of those is held out instead (val_fraction={self.val_fraction:g})')
        return True

    def _find_labels(self, paths: list[tuple[str, ...]], level: int) -> dict[str, int]:
        """Set ``with_label`` and the classes by the layout; the label of each class folder."""
        if self.with_label is False:
            return {}
        loose = [p for p in paths if len(p) == level + 1]
        if loose and (self.with_label or len(loose) < len(paths)):
            otherwise = ('for images without labels, use amt view or amt embed' if self.with_label
                         else 'use all images without labels: amt pretrain FOLDER --unlabelled, or '
                         'with_label=False in a config')
            raise InputError(
                f'{self._folder}: {"/".join(loose[0])} is not in a class subfolder; move it into '
                f'one, or {otherwise}')
        classes = sorted({p[level] for p in paths})
        # One folder of all images says nothing about any of them.
        if loose or (self.with_label is None and len(classes) == 1):
            self.with_label = False
            return {}
        self.with_label = True
        if self.CLASSES is None:
            self._metainfo['classes'] = tuple(classes)
        elif len(self.CLASSES) != len(classes):
            raise InputError(f'{self._folder}: {len(classes)} class subfolders, but '
                             f'{len(self.CLASSES)} classes are configured.')
        self.folder_to_idx = {name: label for label, name in enumerate(classes)}
        return self.folder_to_idx

    def _take_first(self, paths: list[tuple[str, ...]], level: int) -> list[tuple[str, ...]]:
        """Take the first ``first_of_class`` of each class, in sorted order."""
        if not self.with_label:
            raise InputError(f'{self._folder}: first_of_class requires class labels')
        taken, first = Counter(), []
        for path in paths:
            taken[path[level]] += 1
            if taken[path[level]] <= self.first_of_class:
                first.append(path)
        return first

    def _hashed_split(self, path: tuple[str, ...]) -> str:
        """Assign an image to train or val by the hash of its relative path."""
        digest = hashlib.sha256('/'.join(path).encode('utf-8', 'surrogateescape')).digest()
        return 'val' if int.from_bytes(digest[:8], 'big') < self.val_fraction * 2**64 else 'train'

    def _of_all(self, names: list[str], what: str, function: Callable[[str, str], Any]) -> list:
        """Call a function of path and name for all files, with a progress bar on a terminal."""
        backend = get_file_backend(self.img_prefix, enable_singleton=True)
        paths = [backend.join_path(self.img_prefix, name) for name in names]
        # Reading and decoding release the GIL, so threads use all cores.
        with ThreadPoolExecutor() as pool:
            return list(tqdm(pool.map(function, paths, names), what, len(names), leave=False,
                             disable=None))

    def _readable(self, samples: list) -> list:
        """Leave out undecodable samples, with a warning each."""
        logger = MMLogger.get_current_instance()
        loader = next((transform for transform in self.pipeline.transforms
                       if isinstance(transform, LoadImage)), LoadImage())
        settings = str(vars(loader))

        def fault(path: str, _: str) -> str | None:
            key = (path, *file_version(split_frame(path)[0]), settings)
            if key not in _FAULTS:
                try:
                    loader({'img_path': path})
                    _FAULTS[key] = None
                except UnreadableImage as error:
                    _FAULTS[key] = str(error)
            return _FAULTS[key]

        faults = self._of_all([sample[0] if self.with_label else sample for sample in samples],
                              'Checking images', fault)
        readable = [s for s, message in zip(samples, faults, strict=True) if message is None]
        for message in filter(None, faults):
            logger.warning(f'Left out: {message}')
        if not readable:
            raise InputError(f'{self._folder}: none of its {len(samples)} images can be read.')
        self.left_out = len(samples) - len(readable)
        if self.left_out:
            logger.info(f'{self._folder}: {len(readable)} of {len(samples)} images are readable, '
                        f'{self.left_out} left out.')
        return readable


def split_folders(names: Iterable[str]) -> dict[str, str]:
    """Map those of some names of folders that are splits to ``'train'``, ``'val'`` or ``'test'``.

    A single such name may be a class, so there must be one for training and another.
    """
    parts = {name: part for name in names for part, known in _SPLIT_FOLDERS.items()
             if name.lower() in known}
    return parts if {'train'} < set(parts.values()) else {}


def _pixels(pipeline: Sequence | None) -> Mapping | None:
    """Settings of ``LoadPixels`` if a pipeline, of transforms or their configs, begins with it."""
    first = pipeline[0] if pipeline else None
    if isinstance(first, LoadPixels):
        return vars(first)
    return first if isinstance(first, Mapping) and str(first.get('type')).endswith(
        'LoadPixels') else None
