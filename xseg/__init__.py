"""xseg: dense prediction with aligned Xception backbones.

`model = xseg.load(config_or_checkpoint)`, `model.predict(path).save("out.png")`, `xseg.train(config)`,
`xseg.evaluate(config, weights)`, `xseg.fit(data, minutes=30)`. torch and mmengine are imported when one of these is
first used.
"""

import importlib

__version__ = "0.1.0"
__all__ = ["evaluate", "fit", "load", "train"]

_HOMES = {"evaluate": "xseg.run.evaluate", "fit": "xseg.run.fit", "load": "xseg.run.load", "train": "xseg.run.train"}


def __getattr__(name: str):
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'xseg' has no attribute {name!r}")
