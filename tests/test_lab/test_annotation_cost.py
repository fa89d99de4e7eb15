"""The made annotation file: sound, and as long as it says."""

import json
import sys

from amt_mm.detection.annotation_faults import Findings
from amt_mm.detection.annotations import check_content
from lab import annotation_cost


def test_it_is_sound_and_as_long_as_coco():
    content = json.loads(annotation_cost.annotation_text(2000))
    findings = Findings('x')
    assert check_content(content, False, findings) == {}
    findings.stop_at_faults()
    assert findings.note() is None
    assert len(content['images']) == 276 and len(content['annotations']) == 2000
    masks = [each['segmentation'] for each in content['annotations'] if not each['iscrowd']]
    assert len(masks) == 1980
    assert 44 < sum(len(part) for mask in masks for part in mask) / len(masks) < 46


def test_it_prints_the_times(monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', ['annotation_cost', '--objects', '200'])
    annotation_cost.main()
    assert capsys.readouterr().out.startswith(
        '200 objects, 0 MB: json.loads 0.0 s, reading 0.0 s, checking 0.')
