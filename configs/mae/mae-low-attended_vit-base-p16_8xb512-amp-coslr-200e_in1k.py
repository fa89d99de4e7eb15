# Ablation: the most attended patches stay visible (MST), the opposite of AM.
# No result is published.
#   bash tools/dist_train.sh \
#     configs/mae/mae-low-attended_vit-base-p16_8xb512-amp-coslr-200e_in1k.py 8
_base_ = ['./mae_vit-base-p16_8xb512-amp-coslr-200e_in1k.py', '../_base_/amt/mae-amt.py']

data_preprocessor = dict(mask_generator=dict(type='amt_mm.LowAttendedMaskGenerator'))
