# Video object segmentation by a frozen encoder, as in DINO and iBOT: the masks of the first frame
# are carried through the video by the cosines of patch tokens of the last layer, from the first and
# 7 earlier frames; 5 neighbours within 12 patches, temperature .1. J, F and their mean as in
# DAVIS 2017.
# Frames keep their ratio of sides; the shorter one: test_cfg.size=480
_base_ = './knn.py'
protocol = 'video-segmentation'

test_pipeline = [
    dict(type='amt_mm.LoadMask'),
    dict(type='amt_mm.LoadImage'),
    dict(type='PackInputs', algorithm_keys=['gt_seg_map'], meta_keys=['img_path', 'video'])
]
test_dataloader = dict(batch_size=1, dataset=dict(pipeline=test_pipeline))
test_cfg = dict(
    _delete_=True,
    type='amt_mm.VideoSegmentationTestLoop',
    size=480,
    frames=7,
    radius=12,
    neighbours=5,
    temperature=0.1)
