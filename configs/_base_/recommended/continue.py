# The recommended recipe, from a given encoder on: docs/recipes.md. Early blocks are trained more
# slowly than late ones, as in fine-tuning. `amt pretrain FOLDER --pretrained FILE` sets
# architecture, image size and schedule; in a config of your own, set them and
# overlay.hooks.pretrained.checkpoint. Checkpoints have the average of the trained encoder, with a
# weight of a quarter, and of the given one.
_base_ = './mae.py'
overlay = dict(
    optim_wrapper=dict(
        constructor='LearningRateDecayOptimWrapperConstructor',
        paramwise_cfg=dict(
            layer_decay_rate=0.75, custom_keys={'.pre_norm.tokens': dict(decay_mult=0.0)})),
    hooks=dict(
        pretrained=dict(type='amt_mm.PretrainedBackboneHook'),
        average=dict(type='amt_mm.StartAverageHook', share=0.25)))
