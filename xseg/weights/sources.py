"""From what a user writes to a file on this machine: a path, a published name, "timm:NAME", "hf:ORG/NAME".

Downloads go into a cache, `$XSEG_CACHE` or ~/.cache/xseg; a file that is cut off half-way is resumed, and takes its
name only when it is whole and its digest is right.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import urllib.error
import urllib.request
from pathlib import Path

from xseg.weights.published import PUBLISHED

PIECE = 1 << 20
TIMEOUT = 30  # seconds without an answer
SAFE_NAME = "model.safetensors"  # of a model on the Hub, and in a folder that is a copy of one


def locate(source: str | os.PathLike) -> Path:
    """The file, or for TensorFlow the prefix or folder, that `source` stands for; published ones are downloaded.

    Raises FileNotFoundError for a name that is neither, ConnectionError if a download fails, ValueError for a file
    whose digest is wrong.
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
    hint = f"; did you mean {' or '.join(close)}?" if close else "; `xseg weights list` names the published ones"
    raise FileNotFoundError(f"no weights {text!r}: neither a file nor a published name{hint}")


def cache_folder() -> Path:
    return Path(os.environ.get("XSEG_CACHE") or Path.home() / ".cache" / "xseg")


def download(url: str, target: Path, digest: str = "") -> Path:
    """Fetch a file once.

    What was fetched of it before is kept as `NAME.part` and continued. The digest is checked against the published
    one, or against the one recorded beside the file at its first download.
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
    """ValueError unless the file has the published digest, or else the one recorded at its first download."""
    record = _record(path)
    if not digest and record.is_file():
        digest = f"sha256:{record.read_text().strip()}"
    if digest:
        kind, _, expected = digest.partition(":")
        found = _digest(path, kind)
        if found != expected:
            raise ValueError(f"{path}: {kind} is {found}, but should be {expected}; delete the file to fetch it again")


def from_hub(name: str) -> Path:
    """`model.safetensors` of a model on the Hugging Face Hub, "ORG/NAME" or "ORG/NAME@REVISION", or of a folder."""
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError

    folder = Path(name).expanduser()
    if (folder / SAFE_NAME).is_file():
        return folder / SAFE_NAME
    if folder.is_absolute() or name.startswith("."):  # no name on the Hub
        problem = f"{folder} holds no {SAFE_NAME}" if folder.is_dir() else f"{folder}: no such folder"
        raise FileNotFoundError(f"{problem}; give a folder with one, or hf:ORG/NAME")
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
        if error.code == 416 and have:  # nothing is left to fetch
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
        raise ConnectionError(f"the connection ended at byte {size} of {total}; the same command goes on from there")


def _record(path: Path) -> Path:
    return path.with_name(f"{path.name.removesuffix('.part')}.sha256")


def _digest(path: Path, kind: str) -> str:
    found = hashlib.new(kind, usedforsecurity=False)
    with open(path, "rb") as file:
        while piece := file.read(PIECE):
            found.update(piece)
    return found.hexdigest()
