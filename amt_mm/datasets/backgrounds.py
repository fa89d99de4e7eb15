"""ImageNet-9: objects on their own, on other and on no backgrounds."""

from __future__ import annotations

import os.path as osp

from amt_mm.errors import InputError
from amt_mm.json_files import parse_json
from amt_mm.registry import DATASETS

from .image_folder import ImageFolder

CLASSES = 9
_MAPPING = 'in_to_in9.json'


@DATASETS.register_module()
class BackgroundsFolder(ImageFolder):
    """The variations of ImageNet-9 (Xiao et al., "Noise or Signal", ICLR 2021), as published.

    ::

        root/in_to_in9.json                 ImageNet-1K class -> class of ImageNet-9, or -1
        root/mixed_same/val/00_dog/a.JPEG   and original, mixed_rand, mixed_next, only_fg, ...

    Images have no label, since theirs are of other classes than the predictions:
    :class:`~amt_mm.evaluation.backgrounds.BackgroundsAccuracy` takes variation and class from their
    paths, and the mapping from ``metainfo['to_in9']``, a list.

    Args:
        data_root: The folder.
        **kwargs: See :class:`ImageFolder`.

    Raises:
        InputError: The mapping is missing or malformed, or there is no image in these folders.
    """

    def __init__(self, data_root: str = '', **kwargs) -> None:
        super().__init__(data_root, **{**kwargs, 'split': None, 'with_label': False})

    @property
    def list_files(self) -> list[str]:
        """The file with the mapping."""
        return [osp.join(self._folder, _MAPPING)]

    def load_data_list(self) -> list[dict]:
        """List the images of all variations."""
        samples = super().load_data_list()
        self._metainfo['to_in9'] = _read_mapping(*self.list_files)
        return samples

    def _list_images(self) -> list[tuple[str, ...]]:
        paths = [parts for parts in super()._list_images() if len(parts) == 4 and parts[1] == 'val']
        for parts in paths:
            number = parts[2][:2]
            if not (number.isdecimal() and int(number) < CLASSES and parts[2][2:3] == '_'):
                raise InputError(f'{self._folder}/{"/".join(parts)}: is in {parts[2]}, and classes '
                                 'are 00_dog to 08_fish')
        if not paths:
            raise InputError(f'{self._folder}: has no images in original/val/00_dog/ and so on: '
                             'set data_root to the folder of the unpacked archive')
        return paths


def _read_mapping(path: str) -> list[int]:
    """Return the class of ImageNet-9 for each of ImageNet-1K, -1 for none."""
    try:
        with open(path, encoding='utf-8') as file:
            content = parse_json(file.read())
        mapping = [content[str(label)] for label in range(len(content))]
    except OSError as error:
        raise InputError(f'{path}: cannot be read ({error.strerror}); copy it from the repository '
                         'of the backgrounds challenge') from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f'{path}: is not JSON of the classes "0", "1", ...') from error
    if not mapping or not set(mapping) <= set(range(-1, CLASSES)):
        raise InputError(f'{path}: must give a class from -1 to {CLASSES - 1} for each class')
    return mapping
