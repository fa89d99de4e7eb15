# AMT with the weights of its released code instead of the paper's: see
# amt_mm/models/released_weights.py. A control for studies.
_base_ = './mae-amt.py'
overlay = dict(
    data_preprocessor=dict(type=dict(SelfSupDataPreprocessor='amt_mm.ReleasedWeights')))
