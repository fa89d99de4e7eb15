import base64
import io
import re

import numpy as np
import pytest
from html_page import Page
from PIL import Image

from amt_mm.errors import InputError
from amt_mm.visualization import Curve, CurvePlot, GalleryRow, Picture, Report, render


def picture(seed, height=30, width=50):
    return np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)


def report(**change):
    content = {
        'title': 'AMT <quickstart>',
        'rows': [{'model': 'random init', 'knn': 21.04}, {'model': 'MAE <i>co</i>', 'steps': 0.5}],
        'columns': {'model': 'model', 'knn': 'k-NN, % > 0', 'steps': 'seconds a step'},
        'formats': {'knn': '.1f', 'steps': '.3f'},
        'notes': ['"One" seed <only>.'],
        'plots': [CurvePlot('Loss', 'epoch', 'loss', [Curve('<AMT>', [1, 2], [0.5, 0.4])])],
        'gallery': [GalleryRow('<b>1</b>',
                               picture(0),
                               [Picture('epoch "4"', picture(1)), Picture('epoch 8', None)],
                               picture(2),
                               None),
                    GalleryRow('2', None)],
        'details': {'command': 'make <quickstart>', 'config': 'a = 1\nb = "</pre>"'}}
    return Report(**{**content, **change})


def test_everything_is_on_the_page_and_escaped():
    text = render(report())
    page = Page(text)
    for expected in (
        'AMT <quickstart>', 'random init', 'MAE <i>co</i>', '21.0', '0.500', 'k-NN, % > 0',
        '"One" seed <only>.', '<AMT>', '<b>1</b>', 'epoch "4"', 'epoch 8', 'make <quickstart>',
        'visible', 'masked', 'thrown', 'plan', 'reconstruction'):  # fmt: skip
        assert any(expected in found for found in page.texts), expected
    assert any('b = "</pre>"' in found for found in page.texts)
    # Two cells of the table, one refresh, one reconstruction, three of the second row.
    assert page.texts.count('–') == 7
    assert 'masked autoencoder' in text


def test_pictures_are_embedded_unchanged():
    images = Page(render(report())).images()
    alts = [image['alt'] for image in images]
    assert alts == ['', '', '', '<b>1</b>: image', '<b>1</b>: epoch "4"', '<b>1</b>: plan']
    assert (images[3]['width'], images[3]['height']) == ('50', '30')
    smooth = np.linspace(0, 255, 60 * 40 * 3).reshape(60, 40, 3).astype(np.uint8)
    found = Page(render(report(gallery=[GalleryRow('x', smooth)]))).images()[-1]
    kind, data = found['src'].split(',')
    assert kind == 'data:image/jpeg;base64'
    decoded = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
    assert np.abs(decoded.astype(int) - smooth).max() < 12


def test_loads_nothing_from_elsewhere():
    text = render(report())
    page = Page(text)
    assert 'http:' not in text and 'https:' not in text and '@import' not in text
    assert not re.search(r'url\(', text)
    assert not any(tag == 'script' for tag, _ in page.tags)
    for _, attrs in page.tags:
        for name in ('src', 'href'):
            assert attrs.get(name, 'data:').startswith('data:')
    assert 'prefers-color-scheme:dark' in text and 'width=device-width' in text


def test_empty_sections_are_left_out():
    text = render(report(plots=[], gallery=[], details={}, notes=[], explanation=['Short.']))
    page = Page(text)
    assert [tag for tag, _ in page.tags].count('h2') == 2  # results and methods
    assert 'Short.' in page.texts and 'masked autoencoder' not in text
    text = render(report(plots=[], gallery=[], details={}, notes=[], explanation=[]))
    assert [tag for tag, _ in Page(text).tags].count('h2') == 1


def test_the_verdict_comes_first_and_the_methods_after_the_results():
    text = render(report(verdict=['k-NN <b>+3</b> points', 'No difference.'],
                         explanation=['Short.']))
    texts = Page(text).texts
    assert 'k-NN <b>+3</b> points' in texts
    places = [texts.index(part) for part in ('k-NN <b>+3</b> points', 'Results', 'Short.')]
    table = text.index('<table')
    assert text.index('No difference.') < table < text.index('Short.')
    assert places[1] < places[0] < places[2]


def test_the_page_stays_below_its_limit():
    gallery = [
        GalleryRow(str(i), picture(i, 96, 96), plan=picture(i + 50, 96, 96)) for i in range(8)]
    best = len(render(report(gallery=gallery)).encode())
    limit = best * 2 // 3
    assert len(render(report(gallery=gallery), limit).encode()) <= limit
    with pytest.raises(InputError, match='fewer or smaller images'):
        render(report(gallery=gallery), 20_000)


def test_names_that_are_no_text_are_escaped():
    name = 'caf\udce9 \x1b[31m'
    page = render(Report(name, [{'a': name}], {'a': name}, notes=[name], details={name: name},
                         gallery=[GalleryRow(name, None)]))
    assert page.encode() and '\x1b' not in page
    assert page.count('caf\\udce9 \\x1b[31m') == 8
