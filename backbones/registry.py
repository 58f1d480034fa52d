"""Class names in mmengine's registry, for text configs such as `type='AlignedXception'`, without importing mmengine."""

import sys


def register(*classes: type) -> None:
    """Register the classes by name in mmengine's root registry MODELS if mmengine has been imported.

    KeyError if the name belongs to another class.

    A text config names its packages in `custom_imports`, which mmengine imports after itself. A program that imports
    mmengine after this package calls `register` itself, or imports `xseg.models`.
    """
    registries = sys.modules.get("mmengine.registry")
    if registries is not None:
        for cls in classes:
            if registries.MODELS.module_dict.get(cls.__name__) is not cls:
                registries.MODELS.register_module(module=cls)
