# The backgrounds challenge (Xiao et al., ICLR 2021) as iBOT evaluates it: linear probing on
# ImageNet-1K, whose classifier is then tested on ImageNet-9's variations. A trained
# classifier needs no further training:
#   python tools/test.py CONFIG CLASSIFIER
_base_ = './linear.py'
protocol = 'backgrounds'

test_pipeline = [
    dict(type='amt_mm.LoadImage'),
    # Published with 224 pixels: a centre crop would cut background off.
    dict(type='Resize', scale=(224, 224), backend='pillow', interpolation='bicubic'),
    dict(type='PackInputs')
]
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
val_dataloader = test_dataloader
val_evaluator = dict(_delete_=True, type='amt_mm.BackgroundsAccuracy')
test_evaluator = val_evaluator
