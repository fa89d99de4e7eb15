"""Planes that only the XML of a TIFF has."""

import numpy as np
import pytest
import tifffile

from amt_mm.datasets.frames import frame_names, read_frame
from amt_mm.datasets.pixel_arrays import read_pixels


@pytest.mark.parametrize('sizes', [
    'SizeT="100000000" SizeZ="100"', "SizeT = '9999999999' SizeC='3'"])
def test_planes_that_only_the_xml_of_a_tiff_has_are_refused(tmp_path, sizes):
    xml = ('<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0">'
           f'<Pixels ID="Pixels:0" DimensionOrder="XYZTC" Type="uint8" SizeX="4" SizeY="4" {sizes}>'
           '<TiffData/></Pixels></Image></OME>')
    tifffile.imwrite(tmp_path / 'a.tif', np.zeros((4, 4), np.uint8), description=xml, metadata=None)
    assert frame_names(str(tmp_path / 'a.tif'), 'a.tif') == ['a.tif']
    for read in (lambda: read_frame(str(tmp_path / 'a.tif'), 0),
                 lambda: read_pixels((tmp_path / 'a.tif').read_bytes(), 'a.tif', 0)):
        with pytest.raises(ValueError, match='its OME-XML says'):
            read()
