"""`xseg weights convert`: weights of any source as one .safetensors file with its model's config and a card."""

import os

from xseg.config import config_name, load_config
from xseg.run.load import load
from xseg.weights.loading import read_weights
from xseg.weights.published import PUBLISHED
from xseg.weights.safe import save_safetensors


def convert(source: str | os.PathLike, out: str | os.PathLike, config: str | os.PathLike) -> str:
    """Load `source` into the model of `config` and write it to `out`; returns a line about the file.

    Raises ValueError if the source has no weights for a part of the model: the file must not hold initial values.
    """
    weights = read_weights(source)
    model = load(config, weights=weights, device="cpu")
    if model.fresh:
        raise ValueError(
            f"{source} has no weights for {len(model.fresh)} tensors of {config}, such as {model.fresh[0]}; name the "
            "config of the model that the weights belong to"
        )
    row = PUBLISHED.get(os.fspath(source))
    card = {"source": row.url if row else str(source), "config": config_name(load_config(config))}
    if weights.origin is not None:
        card["converted_from"] = weights.origin.source
    if row:
        card |= {"licence": row.licence, "metric": row.metric}
    save_safetensors(model, model.config, out, card)
    count = sum(p.numel() for p in model.parameters())
    return f"{out}: {type(model).__name__}, {count:,} parameters, {len(model.classes)} classes"
