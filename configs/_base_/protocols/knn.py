# k-NN on frozen features as in DINO and AttMask: [CLS] after the final norm, L2-normalised; the
# nearest 10, 20, 100 and 200 training images vote with weight exp(cosine / .07).
# Mean of the patch tokens instead: test_cfg.pooling=mean (the default of encoders without [CLS])
_base_ = './evaluation_224px.py'
protocol = 'knn'

model = dict(backbone=dict(out_type='raw'))
data_preprocessor = dict(type='ClsDataPreprocessor')
test_cfg = dict(
    type='amt_mm.KNNTestLoop',
    ks=(10, 20, 100, 200),
    temperature=0.07,
    pooling=None,
    train_dataloader=dict(dataset=dict(pipeline=_base_.test_pipeline)))
# The loop measures by itself, without metrics.
test_evaluator = []
