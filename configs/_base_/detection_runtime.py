# Runtime of detection: mmdet's, counted in iterations, with an encoder to start from.
default_scope = 'mmdet'

default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=5000, max_keep_ckpts=2),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    # With `default_hooks.visualization.draw=True test_out_dir=figures` tools/test.py draws what
    # it finds.
    visualization=dict(type='DetVisualizationHook'),
    # Empty on purpose: weights are never random by omission. A file, or 'none' for random ones.
    pretrained=dict(type='amt_mm.PretrainedBackboneHook', checkpoint=''))
custom_hooks = [dict(type='amt_mm.DetectorClassesHook')]

env_cfg = dict(
    cudnn_benchmark=False,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'))
visualizer = dict(
    type='DetLocalVisualizer', name='visualizer', vis_backends=[dict(type='LocalVisBackend')])
log_processor = dict(type='LogProcessor', window_size=50, by_epoch=False)
log_level = 'INFO'
load_from = None
resume = False
randomness = dict(seed=0, diff_rank_seed=True)
