"""Keep MMEngine's dumps off the screen; :class:`~amt_mm.hooks.RunSummaryHook` summarises them."""

from __future__ import annotations

import logging

# Prefixes of messages for the log file only: environment, config, hooks.
_FILE_ONLY = ('\n' + '-' * 60 + '\nSystem environment:', 'Config:\n', 'Hooks will be executed in',
              'Distributed training is not used, all SyncBatchNorm')
# Prefixes of messages to drop: options of each parameter, deprecations within MMEngine.
_NOISE = ('paramwise_options -- ', '"FileClient" will be deprecated',
          '"HardDiskBackend" is the alias')


def quiet(logger: logging.Logger) -> None:
    """Drop noise, such as a line per parameter, and keep dumps off the screen.

    A logger without a file keeps the dumps.
    """
    logger.addFilter(_no_noise)
    if any(isinstance(handler, logging.FileHandler) for handler in logger.handlers):
        for handler in logger.handlers:
            if not isinstance(handler, logging.FileHandler):
                handler.addFilter(_no_dump)


def _no_noise(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith(_NOISE)


def _no_dump(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith(_FILE_ONLY)
