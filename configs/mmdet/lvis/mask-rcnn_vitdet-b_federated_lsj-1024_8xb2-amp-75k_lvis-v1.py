# LVIS v1 with the federated loss and the learning rate that ViTDet uses with it. The AMT
# paper does not mention it, so its configs use plain cross entropy: do not compare across.
#   bash tools/dist_train.sh THIS_CONFIG 8 --pretrained CHECKPOINT
_base_ = 'mask-rcnn_vitdet-b_lsj-1024_8xb2-amp-75k_lvis-v1.py'

model = dict(
    roi_head=dict(
        bbox_head=dict(
            loss_cls=dict(_delete_=True, type='amt_mm.FederatedLoss', num_classes=1203),
            # Initial scores are .01: few of many classes are present.
            init_cfg=[
                dict(type='Normal', std=0.01, bias=-4.595, override=dict(name='fc_cls')),
                dict(type='Normal', std=0.001, override=dict(name='fc_reg')),
                dict(type='Xavier', distribution='uniform', override=dict(name='shared_fcs'))
            ])),
    # ViTDet's. The 1e-4 of the other LVIS configs is for scores that sum to 1 over the classes of a
    # box: sigmoids of absent classes lie above it, so nearly all 1000 x 1203 scores of an image
    # would pass through non-maximum suppression, and LVIS counts the best 300.
    test_cfg=dict(rcnn=dict(score_thr=0.02)))

optim_wrapper = dict(optimizer=dict(lr=2e-4))

custom_hooks = [
    dict(type='amt_mm.DetectorClassesHook'),
    dict(type='amt_mm.FederatedCountsHook')
]
