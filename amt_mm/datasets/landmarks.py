"""Revisited Oxford and Paris: images of landmarks, and which of them show that of a query."""

from __future__ import annotations

import os.path as osp
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from mmcv.transforms import BaseTransform
from mmpretrain.datasets import BaseDataset

from amt_mm.checkpoints.numpy_pickle import read_numpy_pickle
from amt_mm.checks import check_choice
from amt_mm.errors import InputError
from amt_mm.registry import DATASETS, TRANSFORMS

_LISTS = ('easy', 'hard', 'junk')


def lists_of_queries(folder: str | Path) -> list[Path]:
    """Return the files ``gnd_*.pkl`` of a folder."""
    return sorted(Path(folder).expanduser().glob('gnd_*.pkl'))


@DATASETS.register_module()
class RevisitedLandmarks(BaseDataset):
    """Revisited Oxford or Paris (Radenovic et al., CVPR 2018), as published.

    ::

        root/gnd_roxford5k.pkl     or gnd_rparis6k.pkl: imlist, qimlist and gnd
        root/jpg/all_souls_000013.jpg

    A query has ``bbx``, its box ``[x0, y0, x1, y1]`` in pixels, and the indices of images of the
    database that show it: ``easy``, ``hard`` and ``junk``. The pickle is read as data, and no code
    of it runs.

    Args:
        data_root: The folder.
        split: ``'database'`` or ``'query'``.
        **kwargs: Of :class:`mmpretrain.datasets.BaseDataset`: ``pipeline``, ...

    Raises:
        InputError: A file is missing, or the lists are not those of the format.
    """

    def __init__(self, data_root: str = '', split: str = 'database', **kwargs) -> None:
        check_choice('split', split, ('database', 'query'))
        self.split = split
        super().__init__(ann_file='', data_root=osp.expanduser(data_root), **kwargs)

    @property
    def list_files(self) -> list[Path]:
        """The file that tells which images are relevant."""
        return lists_of_queries(self.data_root)

    def load_data_list(self) -> list[dict]:
        """List the images of the split."""
        found = self.list_files
        if len(found) != 1:
            raise InputError(f'{self.data_root}: has {len(found)} files gnd_*.pkl, and one is '
                             'needed, next to the folder jpg/ of its images')
        content = _read(found[0])
        samples = ([dict(name=name) for name in content['imlist']] if self.split == 'database' else
                   [dict(name=name, **query) for name, query in
                    zip(content['qimlist'], content['gnd'], strict=True)])
        for sample in samples:
            sample['img_path'] = osp.join(self.data_root, 'jpg', f'{sample.pop("name")}.jpg')
        missing = [each['img_path'] for each in samples if not osp.isfile(each['img_path'])]
        if missing:
            raise InputError(f'{missing[0]}: does not exist ({len(missing)} of {len(samples)} '
                             f'images of {found[0].name} are missing)')
        return samples


@TRANSFORMS.register_module()
class CropToBox(BaseTransform):
    """Crop an image to the box of its query, rounded to pixels; images without a box pass.

    Required keys: ``img``. Optional keys: ``bbx``, see :class:`RevisitedLandmarks`. Modified keys:
    ``img``, ``img_shape``.

    Raises:
        InputError: The box has no pixel of the image.
    """

    def transform(self, results: dict) -> dict:
        """Crop."""
        if 'bbx' in results:
            x0, y0, x1, y1 = (max(0, round(edge)) for edge in results['bbx'])
            image = results['img'][y0:y1, x0:x1]
            if not image.size:
                raise InputError(f'{results["img_path"]}: the box {results["bbx"]} of the query '
                                 'lies outside the image')
            results['img'], results['img_shape'] = image, image.shape[:2]
        return results


def _read(path: Path) -> dict:
    """Return ``imlist``, ``qimlist`` and, for each query, its box and lists."""
    content = read_numpy_pickle(path)
    if not isinstance(content, Mapping) or not all(
            isinstance(content.get(name), (list, tuple)) for name in ('imlist', 'qimlist', 'gnd')):
        raise InputError(f'{path}: is not a file of revisited Oxford or Paris: it needs the lists '
                         'imlist, qimlist and gnd')
    names = [*content['imlist'], *content['qimlist']]
    if not content['imlist'] or not all(
            isinstance(name, str) and name and osp.basename(name) == name for name in names):
        raise InputError(f'{path}: imlist and qimlist must be names of images in jpg/, without '
                         'folders')
    if not content['qimlist'] or len(content['gnd']) != len(content['qimlist']):
        raise InputError(f'{path}: has {len(content["gnd"])} entries in gnd for '
                         f'{len(content["qimlist"])} queries')
    return {**content, 'gnd': [
        _query(f'{path}: query {name}', query, len(content['imlist']))
        for name, query in zip(content['qimlist'], content['gnd'], strict=True)]}


def _query(where: str, query: Mapping, count: int) -> dict:
    if not isinstance(query, Mapping) or not {'bbx', *_LISTS} <= set(query):
        raise InputError(f'{where}: needs bbx, {", ".join(_LISTS)}; the lists of the original '
                         'Oxford and Paris are others')
    try:
        box = np.asarray(query['bbx'], float).reshape(4)
        lists = {name: np.asarray(query[name], float).reshape(-1) for name in _LISTS}
    except (TypeError, ValueError) as error:
        raise InputError(f'{where}: bbx must be four numbers, and {", ".join(_LISTS)} lists of '
                         'indices') from error
    if not np.isfinite(box).all():
        raise InputError(f'{where}: bbx has numbers that are not finite')
    places = np.concatenate(list(lists.values()))
    if not np.isin(places, np.arange(count)).all() or len(set(places)) < len(places):
        raise InputError(f'{where}: its lists must be different indices of images, 0 to '
                         f'{count - 1}')
    return {'bbx': box.tolist(),
            **{name: found.astype(int).tolist() for name, found in lists.items()}}
