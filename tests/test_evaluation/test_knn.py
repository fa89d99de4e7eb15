import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

from amt_mm.errors import InputError
from amt_mm.evaluation import knn_classify
from amt_mm.evaluation.dataset_knn import knn_accuracies
from amt_mm.evaluation.knn import knn_rank, nearest_others


def clusters(count, width, classes, spread, seed):
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(classes, width, generator=torch.Generator().manual_seed(99))
    labels = torch.randint(classes, (count,), generator=generator)
    return centres[labels] + spread * torch.randn(count, width, generator=generator), labels


def sklearn_predictions(train, labels, test, k, temperature):
    def votes(distances):
        # scikit-learn's cosine distance is 1 - similarity.
        return np.exp((1 - distances) / temperature)

    oracle = KNeighborsClassifier(k, weights=votes, metric='cosine', algorithm='brute')
    oracle.fit(train.double().numpy(), labels.numpy())
    return torch.from_numpy(oracle.predict(test.double().numpy()))


@pytest.mark.parametrize('k', [1, 5, 20, 123])
@pytest.mark.parametrize('temperature', [0.07, 1.0])
def test_agrees_with_scikit_learn(k, temperature):
    train, labels = clusters(123, 11, 7, 2.5, seed=0)
    test, test_labels = clusters(57, 11, 7, 2.5, seed=1)
    found = knn_classify(train, labels, test, k, temperature)
    assert torch.equal(found, sklearn_predictions(train, labels, test, k, temperature))
    # The problem is neither trivial nor hopeless, so agreement means something.
    assert k == 123 or 0.2 < (found == test_labels).double().mean() < 0.95


@pytest.mark.parametrize(('classes', 'images'), [(2, 1), (3, 499), (1100, 501)])
def test_any_number_of_classes_and_of_test_images(classes, images):
    train, labels = clusters(1300, 11, classes, 2.5, seed=4)
    test, test_labels = clusters(images, 11, classes, 2.5, seed=5)
    found = knn_accuracies(train, labels, test, test_labels, (10, 20, 100, 200))
    for k in (10, 20, 100, 200):
        wanted = sklearn_predictions(train, labels, test, k, 0.07) == test_labels
        assert found[f'top1_k{k}'] == pytest.approx(100 * wanted.double().mean())


def test_weights_matter():
    # Two far voters of class 1 against one near voter of class 0.
    train = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.1, 1.0]])
    labels = torch.tensor([0, 1, 1])
    test = torch.tensor([[3.0, 0.3]])
    assert knn_classify(train, labels, test, 3, temperature=0.07).tolist() == [0]
    assert knn_classify(train, labels, test, 3, temperature=100.0).tolist() == [1]


def test_several_k_share_a_search_and_chunks_do_not_matter():
    train, labels = clusters(40, 5, 3, 1.0, seed=2)
    test, _ = clusters(23, 5, 3, 1.0, seed=3)
    found = knn_classify(train, labels, test, [1, 10, 7], num_classes=9)
    assert list(found) == [1, 10, 7]
    for k, predictions in found.items():
        assert predictions.shape == (23,) and predictions.dtype == torch.int64
        # 3 test images at a time, with a last part of 2; then 1 at a time.
        assert torch.equal(predictions, knn_classify(train, labels, test, k, chunk=40 * 3))
        assert torch.equal(predictions, knn_classify(train, labels, test, k, chunk=1))


def test_equal_neighbours_and_equal_votes_go_to_the_first():
    train = torch.ones(30, 4)
    labels = torch.tensor([2, 1] * 15)
    test = torch.ones(5, 4) * 7
    assert knn_classify(train, labels, test, 1).tolist() == [2] * 5
    assert knn_classify(train, labels, test, 3).tolist() == [2] * 5
    assert knn_classify(train, labels, test, 2).tolist() == [1] * 5
    assert knn_classify(train, labels, test, 30).tolist() == [1] * 5


def test_k_above_the_number_of_images_uses_all_with_a_warning():
    train, labels = clusters(9, 4, 2, 1.0, seed=4)
    test, _ = clusters(6, 4, 2, 1.0, seed=5)
    with pytest.warns(UserWarning, match='all 9 training images'):
        found = knn_classify(train, labels, test, [3, 20])
    assert torch.equal(found[20], knn_classify(train, labels, test, 9))


def test_half_precision_and_zero_features_are_accepted():
    train, labels = clusters(20, 8, 2, 0.1, seed=6)
    test, test_labels = clusters(10, 8, 2, 0.1, seed=7)
    assert torch.equal(knn_classify(train.half(), labels, test.half()), test_labels)
    assert knn_classify(train, labels, torch.zeros(1, 8), 5).shape == (1,)


def test_a_tiny_temperature_does_not_overflow():
    train, labels = clusters(20, 8, 4, 1.0, seed=8)
    assert torch.equal(knn_classify(train, labels, train, 20, temperature=1e-4), labels)


def ranked_by_hand(train, labels, test, k, temperature, top):
    """Votes image by image, in plain Python; classes without a vote are -1."""
    ranks = []
    for image in test.double():
        cosines = [float(image @ other / image.norm() / other.norm()) for other in train.double()]
        nearest = sorted(range(len(train)), key=lambda i: -cosines[i])[:k]
        votes = {}
        for i in nearest:
            votes[int(labels[i])] = votes.get(int(labels[i]), 0) + np.exp(cosines[i] / temperature)
        best = sorted(votes, key=lambda c: -votes[c])[:top]
        ranks.append(best + [-1] * (top - len(best)))
    return torch.tensor(ranks)


@pytest.mark.parametrize('chunk', [2**22, 100, 7])
def test_classes_are_ranked_by_votes_and_those_without_are_left_out(chunk):
    train, labels = clusters(53, 6, 9, 2.0, seed=11)
    test, _ = clusters(17, 6, 9, 2.0, seed=12)
    # k = 4 cannot name five classes, k = 53 can.
    found = knn_rank(train, labels, test, (1, 4, 53), temperature=0.3, chunk=chunk)
    for k, ranks in found.items():
        assert torch.equal(ranks, ranked_by_hand(train, labels, test, k, 0.3, 5)), k
    assert (found[4] == -1).any(dim=1).all() and (found[53] >= 0).all()
    # More places than classes.
    wide = knn_rank(train, labels, test, [53], top=12, chunk=chunk)[53]
    assert wide.shape == (17, 12) and (wide[:, 9:] == -1).all()


def test_many_classes_and_neighbours_do_not_overflow():
    """2^17 classes and as many voters: 40 bits of votes would not fit above the class."""
    classes = 2**17
    labels = torch.arange(classes)
    labels[1::2] = 7
    train = torch.ones(classes, 1).double()
    found = knn_rank(train, labels, torch.ones(2, 1), [classes], num_classes=classes)[classes]
    assert found.tolist() == [[7, 0, 2, 4, 6]] * 2


def test_training_features_may_be_in_half_precision_and_in_parts():
    train, labels = clusters(20000, 8, 30, 0.5, seed=13)  # more than one part of 2^14
    test, test_labels = clusters(31, 8, 30, 0.5, seed=14)
    found = knn_rank(train.half(), labels, test, (5, 300))
    for k in (5, 300):
        wanted = sklearn_predictions(train.half().float(), labels, test, k, 0.07)
        assert torch.equal(found[k][:, 0], wanted)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_the_training_features_may_stay_on_the_cpu():
    train, labels = clusters(300, 16, 5, 2.0, seed=9)
    test, _ = clusters(100, 16, 5, 2.0, seed=10)
    found = knn_classify(train, labels, test.cuda())
    assert found.is_cuda
    assert torch.equal(found.cpu(), knn_classify(train, labels, test))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_the_gpu_gives_the_same():
    train, labels = clusters(300, 16, 5, 2.0, seed=9)
    test, _ = clusters(100, 16, 5, 2.0, seed=10)
    found = knn_classify(train.cuda(), labels.cuda(), test.cuda())
    assert torch.equal(found.cpu(), knn_classify(train, labels, test))


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'k': 0}, r'k is \[0\]'),
        ({'k': []}, 'at least one k'),
        ({'temperature': 0.0}, 'temperature'),
        ({'train_labels': torch.tensor([0, 1])}, 'train_labels'),
        ({'train_labels': torch.tensor([0.0, 1.0, 1.0])}, 'integers'),
        ({'train_labels': torch.tensor([0, -1, 1])}, 'from -1'),
        ({'num_classes': 1}, 'from 0 to 0'),
        ({'test_features': torch.ones(2, 5)}, '5 wide'),
        ({'test_features': torch.full((2, 4), float('nan'))}, 'image 0'),
        ({'train_features': torch.ones(0, 4)}, 'at least one image'),
    ],
)
def test_bad_input_is_one_clear_line(change, message):
    good = {
        'train_features': torch.eye(3, 4),
        'train_labels': torch.tensor([0, 1, 1]),
        'test_features': torch.ones(2, 4),
        'k': 1,
    }
    with pytest.raises(InputError, match=message) as raised:
        knn_classify(**{**good, **change})
    assert '\n' not in str(raised.value)


@pytest.mark.parametrize('chunk', [2**22, 50])
def test_neighbours_equal_a_slow_loop(chunk):
    features, _ = clusters(43, 6, 5, 1.0, seed=3)
    rows = [0, 17, 42]
    found, cosines = nearest_others(features, rows, 4, chunk)
    for i, row in enumerate(rows):
        alike = []
        for other in range(43):
            a, b = features[row].double(), features[other].double()
            if other != row:
                alike.append((float((a * b).sum() / a.norm() / b.norm()), other))
        wanted = sorted(alike, reverse=True)[:4]
        assert found[i].tolist() == [other for _, other in wanted]
        assert cosines[i].tolist() == pytest.approx([cosine for cosine, _ in wanted], abs=1e-6)


def test_a_copy_is_a_neighbour_and_the_image_itself_is_not():
    features = torch.tensor([[1., 2.], [1., 2.], [1., 2.], [1., 2.], [2., -1.]])
    found, cosines = nearest_others(features, [3, 0], 2)
    assert found.tolist() == [[0, 1], [1, 2]]
    assert cosines.flatten().tolist() == pytest.approx([1, 1, 1, 1])
    # With fewer others than asked for, all of them.
    assert nearest_others(features, [4], 9)[0].tolist() == [[0, 1, 2, 3]]
    assert nearest_others(features[:1], [0], 3)[0].shape == (1, 0)
