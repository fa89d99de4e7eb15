# Low-shot classification as AttMask does it: 1, 5, 10 and 20 training images a class, drawn 5
# times, classified by k-NN (1 voter for 1 image, else 20).
# Logistic regression on the same images instead: test_cfg.classifier=linear
_base_ = './evaluation_224px.py'

model = dict(backbone=dict(out_type='raw'))
data_preprocessor = dict(type='ClsDataPreprocessor')
test_cfg = dict(
    type='amt_mm.LowShotTestLoop',
    shots=(1, 5, 10, 20),
    draws=5,
    pooling='cls',
    train_dataloader=dict(dataset=dict(pipeline=_base_.test_pipeline)))
# The loop measures by itself.
test_evaluator = []
