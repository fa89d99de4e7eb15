"""Read the parts of a config of MMEngine, whether of a run or out of a checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

# Sections that load images.
LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
# Settings of loaders that decide how fast images come, and never which.
LOADING_SPEED = ('num_workers', 'persistent_workers', 'pin_memory', 'prefetch_factor', 'timeout')


def section(value: object) -> Mapping:
    """A section of a config as a mapping; an empty one where it is missing or something else."""
    return value if isinstance(value, Mapping) else {}


def sections(value: object) -> list[Mapping]:
    """The mappings in a list of a config, such as hooks; none where it is something else."""
    return [part for part in value if isinstance(part, Mapping)] if isinstance(
        value, (list, tuple)) else []


def class_name(part: object) -> str:
    """Name of the class that a part's ``type`` names, without scope and module; '' without one.

    Args:
        part: Such as ``dict(type='amt_mm.AMTMAE')``, or an object that is built already.
    """
    kind = part.get('type', '') if isinstance(part, Mapping) else type(part)
    return kind.__name__ if isinstance(kind, type) else str(kind).rpartition('.')[2]


def datasets_in(dataset: object) -> Iterator[Mapping]:
    """Yield the config of a data set and those of the data sets that it wraps."""
    if isinstance(dataset, Mapping):
        yield dataset
        for child in (*dataset.get('datasets', ()), dataset.get('dataset')):
            yield from datasets_in(child)


def preprocessor_config(config: Mapping) -> Mapping:
    """The config of the data preprocessor, which MMEngine takes from two places."""
    return {**section(config.get('data_preprocessor')),
            **section(section(config.get('model')).get('data_preprocessor'))}


def mask_config(config: Mapping) -> Mapping:
    """The config of what draws the masks; empty if there is none, as with mmpretrain's own MAE.

    It is the generator of the data preprocessor or, in self-distillation, the model's ``masking``.

    Args:
        config: Of a run, with the overlay applied.
    """
    return section(preprocessor_config(config).get('mask_generator')
                   or section(config.get('model')).get('masking'))
