"""Read checkpoints without running code in them, select the one to resume, load weights strictly."""

import json
import os
import pickle
import re
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import torch
from mmengine.logging import HistoryBuffer, print_log
from torch import Tensor, nn

# Keys of the weights inside a file: ours and OpenMMLab, torchvision and detectron2, others.
WEIGHT_KEYS = ("state_dict", "model", "model_state_dict", "model_state")

ORIGINS = (  # prefixes that all occur -> kind of model
    (("backbone.", "decode_head."), "an mmsegmentation segmentor"),
    (("backbone.", "bbox_head."), "an mmdetection detector"),
    (("backbone.", "rpn_head."), "an mmdetection detector"),
    (("encoder.", "decoder.", "segmentation_head."), "a segmentation_models_pytorch model"),
    (("backbone.", "sem_seg_head."), "a detectron2 model"),
    (("backbone.", "classifier."), "a torchvision segmentation model"),
    (("backbone.", "head."), "an xseg model"),
    (("layer1.", "layer4."), "a ResNet of torchvision or timm"),
    (("stem.", "blocks."), "a timm backbone"),
    (("block1.", "block12."), "an Xception"),
)


def read_checkpoint(path: str | os.PathLike) -> dict:
    """A dict with at least `state_dict` and `meta`, on the CPU, memory-mapped if the format allows it.

    Reads .pth files of xseg, OpenMMLab, torchvision and others, bare state dicts, and .safetensors. Loading is always
    weights_only: a file with anything but tensors and plain values is refused, and no code in it runs.

    Changed bytes are detected by the CRCs of a .pth (a zip file), and by the checksum of a .safetensors that xseg
    wrote. Other .safetensors have no checksum, nor have .pth files of torch before 1.6 or written without CRCs.

    Raises FileNotFoundError, or ValueError for an empty, cut-off, damaged, foreign or unsafe file.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such checkpoint file")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    is_zip = _check_head(path)
    try:
        with _openmmlab_globals():
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        what = f" ({named.group(1)})" if named else ""
        raise ValueError(
            f"{path}: contains Python code objects{what} (pickle) that xseg refuses to run; "
            "ask its author for a file of weights only, or for .safetensors"
        ) from None
    except Exception as error:  # damaged bytes can raise any exception in an unpickler
        raise ValueError(f"{path}: is damaged or no checkpoint ({_reason(error)})") from None
    return _named(path, content)


def checksum(state: Mapping[str, Tensor], text: str) -> str:
    """CRC-32, as 8 hex digits, of a text and of the names, types, shapes and values of tensors on the CPU."""
    crc = zlib.crc32(text.encode())
    for name, value in sorted(state.items()):
        crc = zlib.crc32(f"{name} {value.dtype} {tuple(value.shape)}".encode(), crc)
        crc = zlib.crc32(value.reshape(-1).view(torch.uint8).numpy(), crc)
    return f"{crc:08x}"


def latest_checkpoints(work_dir: str | os.PathLike) -> list[Path]:
    """Checkpoints to resume, newest first: the one that `last_checkpoint` names, then iter_*.pth by number.

    Only the base name in `last_checkpoint` is used: mmengine writes an absolute path, and work dirs may be moved.
    """
    work_dir = Path(work_dir)
    numbered = [(int(m.group(1)), p) for p in work_dir.glob("iter_*.pth") if (m := re.fullmatch(r"iter_(\d+)", p.stem))]
    candidates = [path for _, path in sorted(numbered, reverse=True)]
    pointer = work_dir / "last_checkpoint"
    if pointer.is_file():
        name = Path(pointer.read_text().strip()).name
        if name and (work_dir / name).is_file():
            candidates = [work_dir / name, *(path for path in candidates if path.name != name)]
    return candidates


def find_resumable(work_dir: str | os.PathLike) -> Path:
    """The newest checkpoint in `work_dir` that can be resumed; a warning names those that cannot."""
    faults = []
    for path in latest_checkpoints(work_dir):
        try:
            check_resumable(read_checkpoint(path), path)
        except ValueError as error:
            faults.append(str(error))
            print_log(f"Skipped for resuming: {error}", logger="current", level=30)
        else:
            return path
    reason = f": {len(faults)} checkpoints, none readable ({faults[0]})" if faults else ""
    raise FileNotFoundError(
        f"{work_dir}: no checkpoint to resume{reason}; name one with --resume FILE, "
        "start from its weights with --load-from FILE, or train into another --work-dir"
    )


def check_resumable(checkpoint: Mapping, source: str | os.PathLike) -> None:
    """Raise ValueError unless `xseg train` wrote the checkpoint, with optimizer and iteration."""
    if "xseg" not in checkpoint["meta"] or "message_hub" not in checkpoint or "optimizer" not in checkpoint:
        raise ValueError(
            f"{source}: holds weights but no state of an xseg training, so it cannot be resumed; "
            "start from its weights with --load-from"
        )


def load_strict(
    model: nn.Module, state_dict: Mapping[str, Tensor], source: str | os.PathLike, new: Sequence[str] = ()
) -> list[str]:
    """Load weights that must match the model in every name and shape, except under the prefixes in `new`.

    Args:
        state_dict: weights by name. A leading "module." (DataParallel) is removed; num_batches_tracked of BatchNorm may
            be missing.
        source: name of the weights in errors, usually the path.
        new: name prefixes of modules that may stay as initialised, e.g. ("head.classifier",) for other classes.

    Returns the names that stayed as initialised. Raises ValueError with lists of the names that do not match.
    """
    model = getattr(model, "module", model)
    state = {name.removeprefix("module."): value for name, value in state_dict.items()}
    own = model.state_dict()
    for prefix in new:
        if not any(_under(name, prefix) for name in own):
            raise ValueError(f"new must name modules of the model, but it has none called {prefix!r}")
    free = {name for name in {*own, *state} if any(_under(name, prefix) for prefix in new)}
    missing = [n for n in own if n not in state and n not in free and not n.endswith("num_batches_tracked")]
    unexpected = [n for n in state if n not in own and n not in free]
    shapes = [n for n in own if n in state and state[n].shape != own[n].shape]
    reshaped = [n for n in shapes if n not in free]
    if missing or unexpected or reshaped:
        raise ValueError(_mismatch(model, own, state, source, missing, unexpected, reshaped))
    fits = {name: value for name, value in state.items() if name in own and name not in shapes}
    model.load_state_dict({**own, **fits}, strict=True)
    return [name for name in own if name not in fits and not name.endswith("num_batches_tracked")]


def _read_safetensors(path: Path) -> dict:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            meta = dict(file.metadata() or {})
            state = {name: file.get_tensor(name) for name in file.keys()}  # `file` is no mapping
    except SafetensorError as error:
        raise ValueError(f"{path}: is damaged or no safetensors file ({error})") from None
    if "xseg" in meta:
        if meta.get("checksum", written := checksum(state, meta["xseg"])) != written:
            raise ValueError(f"{path}: is damaged: its bytes are not those that were written; fetch it again")
        try:
            meta["xseg"] = json.loads(meta["xseg"])
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}: is damaged: the description of its model is no JSON ({error})") from None
    return dict(state_dict=state, meta=meta)


def _check_head(path: Path) -> bool:
    """True for a zip file (torch >= 1.6), False for an older pickle; ValueError for anything else."""
    with open(path, "rb") as file:
        head = file.read(64)
    if not head:
        raise ValueError(f"{path}: is empty; the disk was full, or the copy was cut off: fetch it again")
    if head.startswith(b"PK"):
        _check_zip(path)
        return True
    if head.startswith(b"\x80"):
        return False
    if head.lstrip()[:1] == b"<":
        raise ValueError(f"{path}: is not a checkpoint but a web page; the download needs another address or a login")
    if head.startswith(b"version https://git-lfs"):
        raise ValueError(f"{path}: is not a checkpoint but a Git LFS pointer; run `git lfs pull`")
    raise ValueError(f"{path}: is not a checkpoint (it begins with {head[:8]!r})")


def _check_zip(path: Path) -> None:
    """Raise ValueError unless the archive is complete, every member fits its CRC, and none is compressed."""
    try:
        if not zipfile.is_zipfile(path):
            raise ValueError("its end is missing: it is cut off")
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            packed = [member.filename for member in members if member.file_size > member.compress_size]
            has_checksums = any(member.CRC for member in members)  # torch can be told to write 0 instead
            changed = archive.testzip() if has_checksums and not packed else None
    except Exception as error:  # for damage zipfile raises BadZipFile, NotImplementedError, UnicodeDecodeError, OSError
        raise ValueError(f"{path}: is damaged ({_reason(error)}); fetch it again or use an earlier one") from None
    if packed:
        raise ValueError(f"{path}: holds compressed data ({packed[0]}), which torch never writes; it is refused")
    if changed is not None:
        raise ValueError(f"{path}: is damaged: {changed} in it has changed; fetch it again or use an earlier one")


def _reason(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__


def _named(path: Path, content: object) -> dict:
    """The content with its weights as `state_dict` and its `meta`; ValueError without weights."""
    if isinstance(content, Mapping):
        for key in WEIGHT_KEYS:
            if isinstance(content.get(key), Mapping):
                meta = content.get("meta")
                return {**content, "state_dict": content[key], "meta": meta if isinstance(meta, dict) else {}}
        if content and all(isinstance(value, Tensor) for value in content.values()):
            return dict(state_dict=content, meta={})
    raise ValueError(f"{path}: holds no weights: neither a dict of tensors nor one with {' or '.join(WEIGHT_KEYS)}")


def _openmmlab_globals() -> AbstractContextManager:
    """Allow the types in OpenMMLab's checkpoints besides tensors: numpy values and log histories, which run no code."""
    inert: list = [HistoryBuffer, np.ndarray, np.dtype, (_history_getattr, "builtins.getattr")]
    inert += {type(np.dtype(kind)) for kind in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?")}
    # numpy 1 and 2 write these under different names
    make = np.ndarray.__reduce__(np.zeros(1))[0]
    scalar = np.float64(0).__reduce__()[0]
    for package in ("numpy.core", "numpy._core"):
        inert += [(make, f"{package}.multiarray._reconstruct"), (scalar, f"{package}.multiarray.scalar")]
    return torch.serialization.safe_globals(inert)


def _history_getattr(owner: object, name: str) -> object:
    """Replaces `getattr` in unpickling; it gives only the attributes that HistoryBuffer itself stores."""
    if owner is HistoryBuffer and name in ("min", "max", "current", "mean"):
        return getattr(owner, name)
    raise pickle.UnpicklingError(f"GLOBAL builtins.getattr of {name}")


def _under(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(prefix.rstrip(".") + ".")


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:10]) + (f", … ({len(names)} in all)" if len(names) > 10 else "")


def _mismatch(model, own, state, source, missing, unexpected, reshaped) -> str:
    lines = [f"{source}: the weights do not fit {type(model).__name__}"]
    sized = [f"{n} {tuple(state[n].shape)} in the file, {tuple(own[n].shape)} in the model" for n in reshaped]
    for title, names in (("missing", missing), ("unexpected", unexpected), ("other shape", sized)):
        if names:
            lines.append(f"  {title} ({len(names)}): {_some(names)}")
    counts = [len({m.group() for n in names if (m := re.search(r"\bblocks\.\d+", n))}) for names in (state, own)]
    if counts[0] != counts[1] and all(counts):
        lines.append(f"  the file holds {counts[0]} blocks, the model has {counts[1]}: another depth")
    if not unexpected and len(missing) < len(own) / 10:
        owners = list(dict.fromkeys(name.rpartition(".")[0] for name in [*missing, *reshaped]))
        lines.append(f"  for other classes leave them as initialised: --load-from … --new {' '.join(owners[:10])}")
        return "\n".join(lines)
    origins = [whose for prefixes, whose in ORIGINS if all(any(n.startswith(p) for n in state) for p in prefixes)]
    guess = f"they seem to come from {origins[0]}; " if origins else ""
    lines.append(f"  {guess}use the config that they were trained with")
    return "\n".join(lines)
