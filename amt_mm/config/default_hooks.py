"""Hooks that every run of amt_mm has in addition to MMEngine's default hooks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from amt_mm.config_parts import class_name

# Named, so that a config can change a setting (`default_hooks.progress_bar.interval=50`) or drop
# a hook (`default_hooks.progress_bar=None`).
DEFAULT_HOOKS = {
    'seed': dict(type='amt_mm.StepSeedHook'),
    # Before any check that only one rank may fail, while the others would wait.
    'ranks_agree': dict(type='amt_mm.RanksAgreeHook'),
    'resume_position': dict(type='amt_mm.ResumePositionHook'),
    'keys': dict(type='amt_mm.CheckpointKeysHook'),
    'schedule': dict(type='amt_mm.ScheduleHook'),
    'nan_guard': dict(type='amt_mm.NanGuardHook'),
    'bad_images': dict(type='amt_mm.BadImagesHook'),
    'summary': dict(type='amt_mm.RunSummaryHook'),
    'pixel_range': dict(type='amt_mm.PixelRangeHook'),
    'progress_bar': dict(type='amt_mm.ProgressBarHook'),
    'checkpoint': dict(type='amt_mm.SafeCheckpointHook', interval=1),
    'stop_signal': dict(type='amt_mm.StopSignalHook'),
    'model_card': dict(type='amt_mm.ModelCardHook'),
}
# MMEngine adds hooks under these names itself, so a None must reach it.
_OF_MMENGINE = ('runtime_info', 'timer', 'sampler_seed', 'logger', 'param_scheduler',
                'checkpoint')


def with_default_hooks(default_hooks: Mapping | None, custom_hooks: Sequence | None) -> dict:
    """Merge the config's default hooks with :data:`DEFAULT_HOOKS`.

    Args:
        default_hooks: As in a config: name -> hook, config or None. ``type`` may be omitted
            for a name in :data:`DEFAULT_HOOKS`, MMEngine's ``CheckpointHook`` is replaced by
            ours, and None drops the hook.
        custom_hooks: As in a config. A hook here replaces the default hook of its type.

    Returns:
        ``default_hooks`` for MMEngine's runner.
    """
    own = {class_name(hook) for hook in custom_hooks or ()}
    hooks = {name: dict(hook) for name, hook in DEFAULT_HOOKS.items()
             if class_name(hook) not in own}
    for name, hook in (default_hooks or {}).items():
        if isinstance(hook, Mapping) and class_name(hook) == 'CheckpointHook':
            hooks[name] = {**hook, 'type': DEFAULT_HOOKS['checkpoint']['type']}
        elif hook is None and name not in _OF_MMENGINE:
            hooks.pop(name, None)
        elif isinstance(hook, Mapping) and 'type' not in hook and name in DEFAULT_HOOKS:
            hooks[name] = {**DEFAULT_HOOKS[name], **hook}
        else:
            hooks[name] = hook
    return hooks
