"""Key maps, one file for each source."""

from xseg.weights.maps import cadene, keras, segmentron, tensorflow, timm

ALL_MAPS = [*tensorflow.MAPS, *timm.MAPS, *cadene.MAPS, *segmentron.MAPS, *keras.MAPS]
