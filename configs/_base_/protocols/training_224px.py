# Settings of the protocols that train.
_base_ = './evaluation_224px.py'

data_preprocessor = dict(type='ClsDataPreprocessor')
train_dataloader = dict(num_workers=8, sampler=dict(type='DefaultSampler', shuffle=True))
val_dataloader = _base_.test_dataloader
test_evaluator = dict(type='Accuracy', topk=(1, 5))
val_evaluator = test_evaluator
val_cfg = dict()
default_hooks = dict(
    checkpoint=dict(type='CheckpointHook', interval=1, max_keep_ckpts=2))
