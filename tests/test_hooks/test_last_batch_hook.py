"""LastBatchHook: no batch of one image before batch norm."""

from types import SimpleNamespace

import pytest
from torch.utils.data import DataLoader

from amt_mm.errors import InputError
from amt_mm.hooks import LastBatchHook


def start(images, **options):
    LastBatchHook().before_train(SimpleNamespace(
        train_dataloader=DataLoader(range(images), **options)))


def test_a_last_batch_of_one_image_is_refused():
    with pytest.raises(InputError, match='2049 training images .* batches of 2048 .*=2047'):
        start(2049, batch_size=2048)


@pytest.mark.parametrize('images, options', [
    (2050, dict(batch_size=2048)), (2048, dict(batch_size=2048)),
    (2049, dict(batch_size=2048, drop_last=True))])
def test_others_pass(images, options):
    start(images, **options)
