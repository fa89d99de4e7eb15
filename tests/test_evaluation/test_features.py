import pytest
import torch
from torch import nn

from amt_mm.errors import InputError
from amt_mm.evaluation import extract_features


class Encoder(nn.Module):
    """Tokens (B, 1 + 6, 5) of images (B, 3, 4, 6), with dropout and batch norm to tell modes."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Conv2d(3, 5, 2, 2)
        self.norm = nn.BatchNorm2d(5)
        self.drop = nn.Dropout(0.5)
        self.cls = nn.Parameter(torch.randn(1, 1, 5))

    def forward(self, images):
        patches = self.drop(self.norm(self.embed(images))).flatten(2).transpose(1, 2)
        assert not torch.is_grad_enabled()
        return torch.cat([self.cls + patches.amax(1, keepdim=True), patches], dim=1)


def test_cls_and_mean_in_order_with_a_last_partial_batch():
    model = Encoder()
    images = torch.randn(7, 3, 4, 6)
    found = extract_features(model, images.split(3))
    with torch.no_grad():
        tokens = torch.cat([model.eval()(image[None]) for image in images])
    torch.testing.assert_close(found['cls'], tokens[:, 0])
    torch.testing.assert_close(found['mean'], sum(tokens[:, i] for i in range(1, 7)) / 6)
    assert not found['cls'].requires_grad and found['mean'].shape == (7, 5)


def test_the_mode_of_each_module_is_restored_and_no_statistics_change():
    model = nn.Sequential(Encoder())
    model.train()
    model[0].norm.eval()
    before = {name: module.training for name, module in model.named_modules()}
    mean = model[0].norm.running_mean.clone()
    extract_features(model, [torch.randn(2, 3, 4, 6)])
    assert {name: module.training for name, module in model.named_modules()} == before
    assert len(set(before.values())) == 2
    assert torch.equal(model[0].norm.running_mean, mean)

    with pytest.raises(RuntimeError):
        extract_features(model, [torch.randn(2, 9, 4, 6)])
    assert {name: module.training for name, module in model.named_modules()} == before


@pytest.mark.parametrize('pooling', ['cls', 'mean'])
def test_one_pooling_alone(pooling):
    model, images = Encoder(), torch.randn(3, 3, 4, 6)
    found = extract_features(model, [images], pooling=[pooling])
    assert list(found) == [pooling]
    assert torch.equal(found[pooling], extract_features(model, [images])[pooling])


def test_training_can_use_what_a_module_caches():
    class Caching(Encoder):
        kept = None

        def forward(self, images):
            if self.kept is None:
                self.kept = torch.arange(6.0)
            return super().forward(images) if not torch.is_grad_enabled() else self.kept

    model = Caching()
    extract_features(model, [torch.randn(2, 3, 4, 6)])
    weight = torch.zeros(6, requires_grad=True)
    (model(None) * weight).sum().backward()  # an inference tensor cannot be saved for this
    assert weight.grad is not None


def test_forward_runs_a_part_and_half_precision_becomes_float32():
    model = Encoder()
    found = extract_features(
        model, iter([torch.randn(1, 3, 4, 6)]), forward=lambda x: model(x)[:, :3].half()
    )
    assert found['cls'].dtype == found['mean'].dtype == torch.float32


def test_features_can_be_trained_on():
    # Inference tensors cannot; a probe must be able to use what comes out.
    found = extract_features(Encoder(), [torch.randn(2, 3, 4, 6)])
    weight = torch.zeros(5, requires_grad=True)
    (found['mean'] @ weight).sum().backward()
    assert weight.grad is not None


def test_the_bar_is_optional():
    pytest.importorskip('tqdm')
    assert extract_features(Encoder(), [torch.randn(2, 3, 4, 6)], progress='x')['cls'].shape[0] == 2


def test_missing_images_and_wrong_tokens_are_refused():
    with pytest.raises(InputError, match='no batch'):
        extract_features(Encoder(), [])
    with pytest.raises(InputError, match="pooling is .*'max'"):
        extract_features(Encoder(), [], pooling=['cls', 'max'])
    with pytest.raises(InputError, match=r'\(2, 5, 2, 3\).*out_type'):
        model = Encoder()
        extract_features(model, [torch.randn(2, 3, 4, 6)], forward=model.embed)
