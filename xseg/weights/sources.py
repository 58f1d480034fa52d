"""Find the weight file for a path, a published name, "timm:NAME" or "hf:ORG/NAME"; download it if necessary.

Published files are downloaded into a cache, `$XSEG_CACHE` or ~/.cache/xseg. An interrupted download is resumed. The
file gets its final name only when it is complete and its digest is correct.

Our own download code instead of a library's: it resumes after an interruption.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import urllib.error
import urllib.request
from pathlib import Path

from xseg.weights.published import PUBLISHED

PIECE = 1 << 20  # bytes read at a time
TIMEOUT = 30  # seconds without an answer
SAFE_NAME = "model.safetensors"  # file name in a Hub repository and in a local copy of one


def locate(source: str | os.PathLike) -> Path:
    """Path of the weight file, or of the prefix or folder of a TensorFlow checkpoint.

    Published weights and Hub models are downloaded first.

    Raises FileNotFoundError if `source` is neither a path nor a published name, ConnectionError if a download fails,
    ValueError for a file with a wrong digest.
    """
    text = os.fspath(source)
    if text.startswith("hf:"):
        return from_hub(text.removeprefix("hf:"))
    if text.startswith("timm:"):
        return from_hub("timm/" + text.removeprefix("timm:"))
    path = Path(text)
    if path.exists() or Path(f"{text}.index").is_file():
        return path
    if text in PUBLISHED:
        row = PUBLISHED[text]
        return download(row.url, cache_folder() / row.url.rpartition("/")[2], row.digest)
    close = difflib.get_close_matches(text, PUBLISHED, n=3, cutoff=0.6)
    hint = f"; did you mean {' or '.join(close)}?" if close else "; `xseg weights list` shows the published names"
    raise FileNotFoundError(f"no weights {text!r}: neither a file nor a published name{hint}")


def cache_folder() -> Path:
    """`$XSEG_CACHE`, or ~/.cache/xseg if it is not set."""
    return Path(os.environ.get("XSEG_CACHE") or Path.home() / ".cache" / "xseg")


def download(url: str, target: Path, digest: str = "") -> Path:
    """Download a file, unless `target` exists.

    An incomplete download is kept as `NAME.part` and resumed. The digest is compared with the published one, or with
    the one recorded beside the file at its first download.
    """
    if target.is_file():
        verify(target, digest)
        return target
    part = target.with_name(f"{target.name}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _fetch(url, part)
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", error)
        raise ConnectionError(
            f"cannot fetch {url} ({reason}); fetch it on another machine and put it at {target}"
        ) from None
    try:
        verify(part, digest)
    except ValueError:
        part.unlink()
        raise
    _record(target).write_text(_digest(part, "sha256"))
    os.replace(part, target)
    return target


def verify(path: Path, digest: str = "") -> None:
    """Raise ValueError if the digest of a file differs from the published one.

    Without a published digest, the one recorded at the first download counts.
    """
    record = _record(path)
    if not digest and record.is_file():
        digest = f"sha256:{record.read_text().strip()}"
    if digest:
        kind, _, expected = digest.partition(":")
        actual = _digest(path, kind)
        if actual != expected:
            raise ValueError(f"{path}: {kind} is {actual}, but should be {expected}; delete the file to fetch it again")


def from_hub(name: str) -> Path:
    """`model.safetensors` of "ORG/NAME" or "ORG/NAME@REVISION" on the Hugging Face Hub, or of a local folder."""
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError

    folder = Path(name).expanduser()
    if (folder / SAFE_NAME).is_file():
        return folder / SAFE_NAME
    if folder.is_absolute() or name.startswith("."):  # cannot be a name on the Hub
        problem = f"{folder} holds no {SAFE_NAME}" if folder.is_dir() else f"{folder}: no such folder"
        raise FileNotFoundError(f"{problem}; give a folder that contains this file, or hf:ORG/NAME")
    repository, _, revision = name.partition("@")
    try:
        return Path(hf_hub_download(repository, SAFE_NAME, revision=revision or None))
    except LocalEntryNotFoundError:
        raise ConnectionError(
            f"cannot fetch {repository} from the Hugging Face Hub; fetch "
            f"https://huggingface.co/{repository}/resolve/main/{SAFE_NAME} on another machine and give its path "
            f"instead (the Hub's own cache is {constants.HF_HUB_CACHE})"
        ) from None
    except EntryNotFoundError:
        raise FileNotFoundError(f"{repository} on the Hugging Face Hub has no {SAFE_NAME}") from None
    except HfHubHTTPError as error:
        raise FileNotFoundError(f"{repository}: no such public model on the Hugging Face Hub ({error})") from None


def _fetch(url: str, part: Path) -> None:
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    have = part.stat().st_size if part.is_file() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        answer = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:  # the part is already complete
            return
        raise
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with answer, Progress(*columns) as progress:
        resumed = answer.status == 206
        rest = answer.headers.get("Content-Length")
        total = int(rest) + have * resumed if rest else None
        task = progress.add_task(part.name.removesuffix(".part"), total=total, completed=have * resumed)
        with open(part, "ab" if resumed else "wb") as file:
            while piece := answer.read(PIECE):
                file.write(piece)
                progress.advance(task, len(piece))
            size = file.tell()
    if total is not None and size < total:
        raise ConnectionError(f"the connection ended at byte {size} of {total}; run the same command again to resume")


def _record(path: Path) -> Path:
    return path.with_name(f"{path.name.removesuffix('.part')}.sha256")


def _digest(path: Path, kind: str) -> str:
    digest = hashlib.new(kind, usedforsecurity=False)
    with open(path, "rb") as file:
        while piece := file.read(PIECE):
            digest.update(piece)
    return digest.hexdigest()
