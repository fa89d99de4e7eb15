"""Training of attentive classifiers: side by side as alone, on their own images, and useful."""

import pytest
import torch
from sklearn.linear_model import LogisticRegression

from amt_mm.errors import InputError
from amt_mm.evaluation.attentive_heads import EPHeads
from amt_mm.evaluation.attentive_probe import KINDS, Rate, accuracies, train_heads

RATES = [Rate(1e-3, 0.0), Rate(1e-2, 0.5), Rate(3e-3, 0.1)]


def hidden_classes(count, seed=0, tokens=9, width=12, classes=3):
    """One token of each image tells its class and that it does; the others are noise."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (count, ), generator=generator)
    images = torch.randn(count, tokens, width, generator=generator)
    place = torch.randint(tokens, (count, ), generator=generator)
    told = torch.zeros(count, width)
    told[torch.arange(count), labels] = 4
    told[:, -1] = 8
    images[torch.arange(count), place] = told
    # The noise of the mean token hides what one of nine tells.
    images[..., :classes] *= 1 + 2 * (images[..., -1:] < 5)
    return images.half(), labels


def train(kind, data, rates, images=None, **changes):
    tokens, labels = data
    images = torch.arange(len(labels)) if images is None else images
    return train_heads(kind, tokens, labels, images, rates, **{**dict(
        num_classes=3, queries=3, epochs=4, batch_size=20), **changes})


@pytest.mark.parametrize('kind', KINDS)
def test_side_by_side_they_learn_what_each_learns_alone(kind):
    data = hidden_classes(70)
    together = train(kind, data, RATES)
    with torch.no_grad():
        logits = together(data[0].float())
        for i, rate in enumerate(RATES):
            alone = train(kind, data, [rate])(data[0].float())[0]
            torch.testing.assert_close(logits[i], alone, rtol=1e-3, atol=1e-4)
    assert not together.training and (logits[0] - logits[1]).abs().max() > .05


@pytest.mark.parametrize('kind', KINDS)
def test_they_find_the_token_that_tells_the_class(kind):
    data, test = hidden_classes(600), hidden_classes(300, seed=1)
    mean = LogisticRegression(max_iter=500).fit(data[0].float().mean(1), data[1])
    linear = 100 * mean.score(test[0].float().mean(1), test[1])
    heads = train(kind, data, [Rate(1e-2, 0.0)], epochs=40, batch_size=100)
    assert linear < 75 and accuracies(heads, *test, torch.arange(300))[0] > 95


def test_with_uniform_attention_they_learn_from_the_mean_token(monkeypatch):
    monkeypatch.setattr(EPHeads, 'queries_of_tokens',
                        lambda self: torch.zeros(len(self.values), 3, 12))
    tokens, labels = hidden_classes(70)
    tokens = tokens.float()
    whole = train('ep', (tokens, labels), RATES)
    mean = tokens.mean(dim=1, keepdim=True)
    averaged = train('ep', (mean, labels), RATES)
    with torch.no_grad():
        torch.testing.assert_close(whole(tokens), averaged(mean), rtol=1e-3, atol=1e-4)


def test_images_that_are_left_out_are_not_read():
    tokens, labels = hidden_classes(50)
    chosen = torch.arange(50)[::2]
    other = labels.clone()
    other[1::2] = 2 - labels[1::2]
    spoilt = tokens.clone()
    spoilt[1::2] = float('nan')
    found = [train('ep', data, RATES, chosen)(tokens.float())
             for data in ((tokens, labels), (spoilt, other))]
    assert torch.equal(*found)
    heads = train('ep', (tokens, labels), RATES, epochs=40)
    right = accuracies(heads, tokens, labels, chosen, batch_size=7)
    predicted = heads(tokens[::2].float()).argmax(-1)
    assert right == [100 * int((row == labels[::2]).sum()) / 25 for row in predicted]


def test_every_image_has_its_turn_and_no_batch_is_smaller(monkeypatch):
    seen = []
    forward = EPHeads.forward
    monkeypatch.setattr(EPHeads, 'forward',
                        lambda self, x: seen.append(x[:, 0, 0]) or forward(self, x))
    tokens, labels = torch.randn(23, 2, 12), torch.randint(3, (23, ))
    tokens[:, 0, 0] = torch.arange(23)
    train('ep', (tokens, labels), RATES, batch_size=5, epochs=6)
    assert [len(batch) for batch in seen] == [5] * 24
    epochs = torch.stack(seen).view(6, 20)
    assert all(len(epoch.unique()) == 20 for epoch in epochs)
    assert len(epochs.unique()) == 23
    assert len(train('ep', (tokens, labels), RATES, batch_size=99)(tokens)) == 3


def test_the_rate_rises_falls_and_spares_the_bias_from_decay(monkeypatch):
    steps = []
    step = torch.optim.AdamW.step

    def noted(self, *args, **kwargs):
        steps.append([(group['lr'], group['weight_decay']) for group in self.param_groups])
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, 'step', noted)
    train('aim', hidden_classes(40), [Rate(.02, .5)], epochs=10)
    lrs = [groups[0][0] for groups in steps]
    assert len(lrs) == 20 and max(lrs) == pytest.approx(.02) and lrs.index(max(lrs)) == 2
    assert lrs[0] == pytest.approx(.01) and lrs[2:] == sorted(lrs[2:], reverse=True)
    assert lrs[11] == pytest.approx(.01) and lrs[-1] < 2e-4
    assert [decay for _, decay in steps[0]] == [.5, .5, .5, .5, 0]


def test_a_single_image_is_refused():
    with pytest.raises(InputError, match='1 training images'):
        train('ep', hidden_classes(5), RATES, images=torch.tensor([3]))
