# Image retrieval: the training images are ranked by cosine to each test image; mean average
# precision and precision at 1, 5 and 10. On revisited Oxford and Paris (Radenovic et al., CVPR
# 2018) the easy, medium and hard setups, with queries cropped to their boxes; on classes, images of
# the query's class are relevant. Images are resized to a square as a whole.
_base_ = './knn.py'
protocol = 'retrieval'

test_pipeline = [
    dict(type='amt_mm.LoadImage'),
    dict(type='amt_mm.CropToBox'),
    dict(type='Resize', scale=(224, 224), backend='pillow', interpolation='bicubic'),
    dict(type='PackInputs')
]
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_cfg = dict(
    _delete_=True,
    type='amt_mm.RetrievalTestLoop',
    ks=(1, 5, 10),
    pooling=None,
    train_dataloader=dict(dataset=dict(pipeline=test_pipeline)))
