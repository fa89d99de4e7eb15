# The backgrounds challenge (Xiao et al., ICLR 2021) as iBOT evaluates it: linear probing on
# ImageNet-1K, whose classifier then meets the variations of ImageNet-9. A classifier that is
# trained already needs no other training:
#   python tools/test.py CONFIG CLASSIFIER
_base_ = './linear.py'
protocol = 'backgrounds'

val_evaluator = dict(_delete_=True, type='amt_mm.BackgroundsAccuracy')
test_evaluator = val_evaluator
