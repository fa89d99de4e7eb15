# iBOT on a fifth of ImageNet-1K, the first 260 files of each class, with 6 local crops and faster
# updates of the teacher.
_base_ = 'ibot-block_vit-small-p16_4xb60-amp-coslr-100e_in1k.py'

train_pipeline = _base_.train_pipeline
train_pipeline[1]['num_views'] = [1, 1, 6]
train_dataloader = dict(dataset=dict(first_of_class=260, pipeline=train_pipeline))
default_hooks = dict(teacher=dict(momentum=0.99))
