"""RunSummaryHook: what is about to be trained, in a few lines."""

from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, Runner
from torch.utils.data import Dataset

from amt_mm.models.token_counts import tokens_per_image
from amt_mm.models.unwrapped import unwrapped
from amt_mm.random_streams import kept_random_streams
from amt_mm.registry import HOOKS


@HOOKS.register_module()
class RunSummaryHook(Hook):
    """Log config, data, model, cost and hooks before training.

    MMEngine's dumps of the same are in the log file alone, see
    :mod:`amt_mm.engine.quiet_logging`.
    """

    # Before hooks that take long, such as the first refresh of the saliency maps.
    priority = 'HIGHEST'

    def before_train(self, runner: Runner) -> None:
        """Log the summary."""
        file = getattr(runner.cfg, 'filename', None) or runner.experiment_name
        hooks = (type(hook).__name__.removesuffix('Hook') for hook in runner.hooks)
        lines = dict(
            config=f'{file}, seed {runner.seed}; the full log is in {runner.log_dir}',
            data=_data(runner), model=_model(runner), cost=_cost(runner), hooks=', '.join(hooks))
        runner.logger.info('\n'.join(['This run:', *(f'  {name + ":":8}{line}'
                                                     for name, line in lines.items())]))


def _data(runner: Runner) -> str:
    loop = runner.val_loop
    if hasattr(loop, 'dataloader'):
        held_out = f'{_count(loop.dataloader.dataset)} validation images'
    else:
        held_out = 'the images of `probe`' if 'probe' in runner.cfg else 'nothing'
    return f'{_images(runner.train_dataloader.dataset)}; held out: {held_out}'


def _images(dataset: Dataset) -> str:
    classes = getattr(dataset, 'metainfo', {}).get('classes')
    root = getattr(dataset, 'data_root', None)
    return ' '.join([f'{_count(dataset)} training images',
                     *([f'of {len(classes)} classes'] if classes else []),
                     *([f'in {root}'] if root else [])])


def _count(dataset: Dataset) -> str:
    return f'{len(dataset):,}' if hasattr(dataset, '__len__') else 'streamed'


def _model(runner: Runner) -> str:
    model = unwrapped(runner)
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in model.parameters()]
    preprocessor = getattr(model, 'data_preprocessor', None)
    parts = (model, getattr(model, 'backbone', None), getattr(preprocessor, 'mask_generator', None))
    names = ', '.join(type(part).__name__ for part in parts if part is not None)
    return (f'{names}; {sum(size for size, _ in sizes) / 1e6:.1f} M parameters, '
            f'{sum(size for size, trained in sizes if trained) / 1e6:.1f} M of them trained')


def _cost(runner: Runner) -> str:
    with kept_random_streams(gpu=False):
        tokens = tokens_per_image(unwrapped(runner))
    text = f'{training_length(runner)} on ' + (
        'one process' if runner.world_size == 1 else f'{runner.world_size} processes')
    if tokens:
        text += (f'; tokens per image at the end of training: encoder {tokens["encoder_tokens"]}, '
                 f'decoder {tokens["decoder_tokens"]}')
    return text


def training_length(runner: Runner) -> str:
    """Say how many epochs, steps and images a step a run takes."""
    loop = runner.train_loop
    batch = getattr(runner.train_dataloader, 'batch_size', None)
    images = f' of {batch * runner.world_size:,} images' if batch else ''
    epochs = f'{loop.max_epochs:,} epochs, ' if isinstance(loop, EpochBasedTrainLoop) else ''
    return f'{epochs}{loop.max_iters:,} steps{images}'
