"""RetrievalTestLoop: mean average precision of nearest images."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from mmengine.dist import all_reduce, get_dist_info
from torch import Tensor
from torch.utils.data import DataLoader

from amt_mm.checks import check_numbers
from amt_mm.errors import InputError
from amt_mm.models.unwrapped import unwrapped
from amt_mm.registry import LOOPS

from .checks import check_features
from .dataset_features import dataset_labels, image_features
from .feature_loop import FeatureTestLoop
from .retrieval import ranked_measures

# Difficulty -> lists of relevant images, lists of images to ignore.
_DIFFICULTIES = {'easy': (('easy', ), ('junk', 'hard')), 'medium': (('easy', 'hard'), ('junk', )),
                 'hard': (('hard', ), ('junk', 'easy'))}
# Similarities that are ranked at once.
_CHUNK = 2**22
# Queries -> relevant and ignored images of the database, (m, N) bool each.
_Judge = Callable[[Sequence[int]], tuple[Tensor, Tensor]]


@LOOPS.register_module()
class RetrievalTestLoop(FeatureTestLoop):
    """Rank the training images, which are the database, by cosine to each test image, a query.

    On images with classes, those of the query's class are relevant; it reports ``retrieval/map``
    and ``mp1``, ``mp5`` and ``mp10`` in per cent. On
    :class:`~amt_mm.datasets.RevisitedLandmarks` it reports ``map_easy``, ``map_medium``,
    ``map_hard``, ``mp1_easy`` and so on: in *easy*, images of the list easy are relevant, and
    those of hard are ignored; in *medium*, both are relevant; *hard* is the reverse of easy. Those
    of junk are always ignored. Queries without relevant images are left out of the mean, which the
    log says. See :func:`~amt_mm.evaluation.retrieval.ranked_measures`.

    Args:
        *args, **kwargs: See :class:`~amt_mm.evaluation.feature_loop.FeatureTestLoop`.
        ks: Numbers of images for the precision. Defaults to 1, 5 and 10.

    Raises:
        InputError: A number is below 1, or nothing tells which images are relevant; and see the
            parent.
    """

    prefix = 'retrieval'

    def __init__(self, *args, ks: Sequence[int] = (1, 5, 10), **kwargs) -> None:
        check_numbers('test_cfg.ks', ks)
        if ks and min(ks) < 1:
            raise InputError(f'test_cfg.ks={list(ks)}: all must be 1 or more')
        super().__init__(*args, **kwargs)
        self.ks = tuple(ks)
        self.judges = self._judges()

    def encode(self, loader: DataLoader, progress: str) -> Tensor:
        """Return features of all images, ``(n, D)``."""
        if '' in self.judges:
            return super().encode(loader, progress).features[self.pooling]
        # Landmarks have no labels.
        return image_features(unwrapped(self.runner), loader, [self.pooling],
                              progress)[self.pooling]

    def measure(self, train: Tensor, test: Tensor) -> dict[str, float]:
        """Rank the database for each query; each process takes its share of the queries."""
        check_features('features of the database', train)
        check_features('features of the queries', test)
        database = F.normalize(train.to(self.device), dim=1)
        rank, world_size = get_dist_info()
        sums = torch.zeros(len(self.judges), 2 + len(self.ks), dtype=torch.float64,
                           device=self.device)
        for rows in torch.arange(len(test))[rank::world_size].split(
                max(1, _CHUNK // len(database))):
            queries = F.normalize(test[rows].to(self.device), dim=1)
            order = (queries @ database.T).argsort(dim=1, descending=True, stable=True)  # (m, N)
            for total, judge in zip(sums, self.judges.values(), strict=True):
                ranked = [each.to(self.device).gather(1, order) for each in judge(rows.tolist())]
                measures = ranked_measures(*ranked, self.ks)
                known = measures[~measures[:, 0].isnan()]
                total += torch.cat([known.sum(dim=0), known.new_tensor([len(known)])])
        all_reduce(sums)
        result = {}
        for name, (*totals, count) in zip(self.judges, sums.tolist(), strict=True):
            if not count:
                raise InputError(f'no query has relevant images{f" ({name})" * bool(name)}')
            if count < len(test):
                self.runner.logger.info(f'{name or "mAP"}: {len(test) - round(count)} of '
                                        f'{len(test)} queries have no relevant image, and do not '
                                        'count')
            for measure, total in zip(['map', *(f'mp{k}' for k in self.ks)], totals, strict=True):
                result[f'{measure}_{name}'.rstrip('_')] = 100 * total / count
        return result

    def _judges(self) -> dict[str, _Judge]:
        """Return what tells relevant images, by difficulty; on classes there is none."""
        queries = self.dataloader.dataset
        known = [dataset_labels(each) for each in (self.train_dataloader.dataset, queries)]
        if all(labels is not None for labels in known):
            database, labels = known

            def same_class(rows: Sequence[int]) -> tuple[Tensor, Tensor]:
                relevant = labels[rows][:, None] == database
                return relevant, torch.zeros_like(relevant)

            return {'': same_class}
        if not {'easy', 'hard', 'junk'} <= set(queries.get_data_info(0)):
            raise InputError('RetrievalTestLoop: nothing tells which images are relevant: give '
                             'images with classes, or amt_mm.RevisitedLandmarks')
        count = len(self.train_dataloader.dataset)

        def listed(rows: Sequence[int], names: Sequence[str]) -> Tensor:
            marks = torch.zeros(len(rows), count, dtype=torch.bool)
            for mark, row in zip(marks, rows, strict=True):
                info = queries.get_data_info(row)
                mark[[place for name in names for place in info[name]]] = True
            return marks

        return {name: lambda rows, lists=lists: tuple(listed(rows, names) for names in lists)
                for name, lists in _DIFFICULTIES.items()}
