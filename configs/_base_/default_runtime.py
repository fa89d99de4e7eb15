# Runtime of every pre-training here: mmpretrain's, with fresh random streams each epoch.
_base_ = 'mmpretrain::_base_/default_runtime.py'

custom_hooks = [
    dict(type='amt_mm.EpochSeedHook'),
    dict(type='amt_mm.CheckpointKeysHook'),
    dict(type='amt_mm.ProgressBarHook')
]
