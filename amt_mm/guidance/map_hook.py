"""MapHook: base class of the hooks that provide the maps which masks follow."""

from __future__ import annotations

import torch
from mmengine.dist import all_reduce
from mmengine.runner import Runner

from amt_mm.datasets import whole_image_view
from amt_mm.errors import InputError
from amt_mm.models import AMTDataPreprocessor
from amt_mm.models.unwrapped import unwrapped
from amt_mm.scheduled_hook import ScheduledHook

from .map_reference import map_record, read_map_record


class MapHook(ScheduledHook):
    """Base class of hooks that set ``store`` of the data preprocessor.

    Whatever asks whether a run is guided, and from when on, asks for this class:
    :class:`~amt_mm.guidance.GuidanceHook`, the cost table, the schedules of studies. So they follow
    your own hook if it derives from this class and sets the store when ``begin`` is reached.

    Attributes:
        checkpoint_key: Where a checkpoint refers to the map file in use.
        file_prefix: What the names of its map files begin with. A run that another hook guided
            before and this one continues does not restore files of other names. Defaults to '':
            any are restored.
    """

    # After StepSeedHook, before hooks that read the plan.
    priority = 'NORMAL'
    checkpoint_key = 'amt_saliency'
    file_prefix = ''
    _reference: dict | None = None

    def check_guided(self, runner: Runner) -> AMTDataPreprocessor:
        """Return the data preprocessor of a run whose masks follow maps.

        Raises:
            InputError: Its data preprocessor or mask generator uses no maps, another hook provides
                them, its loop counts iterations and the hook does not, or its crops do not record
                where their pixels come from (see :func:`~amt_mm.datasets.whole_image_view`).
        """
        name, preprocessor = type(self).__name__, unwrapped(runner).data_preprocessor
        if not isinstance(preprocessor, AMTDataPreprocessor):
            raise InputError(f"{name} needs data_preprocessor.type='amt_mm.AMTDataPreprocessor', "
                             f'not {type(preprocessor).__name__}')
        generator = preprocessor.mask_generator
        if not generator.needs_weights:
            raise InputError(f'{name}: {type(generator).__name__} uses no weights; set '
                             "mask_generator.type='amt_mm.AMTMaskGenerator', or leave the hook out "
                             '(overlay.hooks._delete_=True if an overlay adds it)')
        others = [type(hook).__name__ for hook in runner.hooks
                  if isinstance(hook, MapHook) and hook is not self]
        if others:
            raise InputError(f'{name} and {others[0]} would both guide the masks: leave one out')
        self.check_loop(runner)
        whole_image_view(runner.train_dataloader.dataset)  # raises for such crops
        return preprocessor

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Save a reference to the maps in use."""
        store = unwrapped(runner).data_preprocessor.store
        checkpoint[self.checkpoint_key] = store and map_record(store)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Read which maps the checkpoint was trained with."""
        record = read_map_record(checkpoint, self.checkpoint_key)
        self._reference = record if record and record['file'].startswith(self.file_prefix) else None

    def after_train(self, runner: Runner) -> None:
        """Warn of crops masked at random since they were last counted."""
        if fallbacks := pop_fallbacks(runner):
            runner.logger.warning(f'{fallbacks} crops were masked at random since the last '
                                  'refresh: their part of the map is flat or not finite')


def pop_fallbacks(runner: Runner) -> int:
    """Return the number of crops masked at random in all processes, and reset it."""
    preprocessor = unwrapped(runner).data_preprocessor
    total = preprocessor.fallbacks.to(preprocessor.device, copy=True)
    all_reduce(total)
    preprocessor.fallbacks = torch.zeros_like(total)
    return int(total)
