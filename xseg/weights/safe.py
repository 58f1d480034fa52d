"""Write our .safetensors files, with the model's card in the metadata, to disk and to the Hugging Face Hub."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

from torch import nn

from xseg.engine import checksum, plain_model_config

CARD = """\
---
library_name: xseg
pipeline_tag: {task}
tags: [{tags}]
---
# {name}

{kind} for xseg: `model = xseg.load("hf:{name}")`, then `model.predict("image.jpg")`.

| | |
| --- | --- |
{rows}
"""


def save_safetensors(model: nn.Module, config: dict, path: str | os.PathLike, card: dict | None = None) -> None:
    """Write a model's weights, config, class names and card to one file, which is enough for `xseg.load(path)`.

    Args:
        config: the `model` dict of a config.
        card: further entries of the card, for example source, licence and metric.

    The file is written under a temporary name and renamed when complete. Its checksum is verified on reading.
    """
    from safetensors.torch import save_file

    path = Path(path)
    if path.suffix != ".safetensors":
        raise ValueError(f"{path}: must end in .safetensors")
    state = {n: v.detach().cpu().contiguous() for n, v in model.state_dict().items()}
    meta = {
        "model": plain_model_config(config),
        "classes": list(model.classes),
        "palette": model.palette and [list(colour) for colour in model.palette],
        "card": {**_computed(model), **(card or {})},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    text = json.dumps(meta)
    save_file(state, part, metadata={"format": "pt", "xseg": text, "checksum": checksum(state, text)})
    os.replace(part, path)


def push_to_hub(model: nn.Module, repository: str, private: bool = False, token: str | None = None) -> str:
    """Upload weights and card to the Hugging Face Hub; returns the address.

    Args:
        model: returned by `xseg.load`, because it then has its config.
        repository: "ORG/NAME"; created if it does not exist.
    """
    from huggingface_hub import HfApi

    if getattr(model, "config", None) is None:
        raise ValueError("the model does not know its config; use a model returned by xseg.load")
    api = HfApi(token=token)
    with tempfile.TemporaryDirectory(prefix="xseg-") as folder:
        save_safetensors(model, model.config, Path(folder) / "model.safetensors", model.card)
        rows = {**_computed(model), **model.card, "classes": f"{len(model.classes)}: {', '.join(model.classes[:30])}"}
        text = CARD.format(
            name=repository,
            kind=type(model).__name__,
            task=model.hub_tasks[0],
            tags=", ".join(
                [*model.hub_tasks, type(model.backbone).__name__.lower(), type(model.head).__name__.lower()]
            ),
            rows="\n".join(f"| {key} | {value} |" for key, value in rows.items()),
        )
        (Path(folder) / "README.md").write_text(text, encoding="utf-8")
        api.create_repo(repository, private=private, exist_ok=True)
        api.upload_folder(repo_id=repository, folder_path=folder)
    return f"https://huggingface.co/{repository}"


def _computed(model: nn.Module) -> dict:
    """Entries of the card that follow from the model: preprocessing and BatchNorm epsilons."""
    norm = model.data_preprocessor
    epsilons = {
        part: sorted({m.eps for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)})
        for part, module in (("backbone", model.backbone), ("head", model.head))
    }
    return {
        "mean": norm.mean.flatten().tolist(),
        "std": norm.std.flatten().tolist(),
        "value_range": [0, 255],
        "channels": "RGB",
        "bn_eps": {part: values for part, values in epsilons.items() if values},
    }
