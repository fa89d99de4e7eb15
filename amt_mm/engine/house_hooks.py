"""Hooks that every run of amt_mm has, beside MMEngine's default ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

# By name, so that a config changes one setting of one (`default_hooks.progress.interval=50`), or
# leaves one out (`default_hooks.progress=None`).
HOUSE_HOOKS = {
    'seed': dict(type='amt_mm.StepSeedHook'),
    # Before whatever one process alone may refuse, while the others would wait.
    'ranks_agree': dict(type='amt_mm.RanksAgreeHook'),
    'position': dict(type='amt_mm.PositionHook'),
    'keys': dict(type='amt_mm.CheckpointKeysHook'),
    'schedule': dict(type='amt_mm.ScheduleHook'),
    'finite_guard': dict(type='amt_mm.FiniteGuardHook'),
    'bad_images': dict(type='amt_mm.BadImagesHook'),
    'progress_bar': dict(type='amt_mm.ProgressBarHook'),
    'checkpoint': dict(type='amt_mm.SafeCheckpointHook', interval=1),
    'stop_signal': dict(type='amt_mm.StopSignalHook'),
}
# MMEngine has hooks of its own under these names, and None must reach it to leave one out.
_OF_MMENGINE = ('runtime_info', 'timer', 'sampler_seed', 'logger', 'param_scheduler',
                'checkpoint')


def with_house_hooks(default_hooks: Mapping | None, custom_hooks: Sequence | None) -> dict:
    """The config's default hooks, and ours where it says nothing else.

    Args:
        default_hooks: As in a config: name -> hook, config or None. A config of one of
            ours may leave out its type. MMEngine's ``CheckpointHook`` becomes ours. None
            leaves out the hook of that name, of a base config too.
        custom_hooks: As in a config. One of a type of ours takes its place.

    Returns:
        ``default_hooks`` for MMEngine's runner.
    """
    own = {_class_name(hook) for hook in custom_hooks or ()}
    hooks = {name: dict(hook) for name, hook in HOUSE_HOOKS.items()
             if _class_name(hook) not in own}
    for name, hook in (default_hooks or {}).items():
        if isinstance(hook, Mapping) and 'type' in hook and _class_name(hook) == 'CheckpointHook':
            hooks[name] = {**hook, 'type': HOUSE_HOOKS['checkpoint']['type']}
        elif hook is None and name not in _OF_MMENGINE:
            hooks.pop(name, None)
        elif isinstance(hook, Mapping) and 'type' not in hook and name in HOUSE_HOOKS:
            hooks[name] = {**HOUSE_HOOKS[name], **hook}
        else:
            hooks[name] = hook
    return hooks


def _class_name(hook: object) -> str:
    kind = hook['type'] if isinstance(hook, Mapping) else type(hook)
    return kind.rpartition('.')[2] if isinstance(kind, str) else kind.__name__
