"""What a file is by its content, whatever its name says."""

import zipfile
from pathlib import Path
from typing import BinaryIO, Literal

from common.errors import UserError, reason_of

_LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19"
"""How files of `torch.save` began before they were zip archives."""
_FOREIGN = (
    ((b"version https://git-lfs",), "is a Git LFS pointer; run `git lfs pull`, or download the file itself"),
    ((b"\x89HDF",), "is an HDF5 file, such as Keras writes; export its weights to torch or safetensors"),
    ((b"\x1f\x8b", b"BZh", b"\xfd7zXZ"), "is a compressed archive; unpack it and give the file in it"),
)  # fmt: skip
_WEB = (b"<!doctype html", b"<html", b"<?xml")


def kind_of(stream: BinaryIO, path: Path) -> Literal["torch", "safetensors"]:
    """Which reader the weights file in `stream` needs; its checksums are compared.

    Raises:
        UserError: it is something else, is cut short, or a checksum is wrong.
    """
    head = stream.read(512)
    if not head:
        raise UserError(f"{path} is an empty file; fetch it again")
    if head.lstrip().lower().startswith(_WEB):
        raise UserError(f"{path} is a web page, not weights; open its link in a browser and download the file there")
    for beginnings, what in _FOREIGN:
        if head.startswith(beginnings):
            raise UserError(f"{path} {what}")
    if head[257:262] == b"ustar":
        raise UserError(f"{path} is a tar archive; unpack it and give the file in it")
    if head.startswith(b"PK"):
        _check_zip(stream, path)
        return "torch"
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 1 << 32:
        return "safetensors"
    if head.startswith(_LEGACY):
        return "torch"
    if head.startswith(b"\x80"):
        raise UserError(
            f"{path} is a pickle that torch.save did not write, perhaps data.pkl out of an unpacked file; fetch "
            "the file that torch.save wrote and do not unpack it"
        )
    raise UserError(
        f"{path} cannot be read as a torch or safetensors file, it begins with {head[:12]!r}: it is damaged or of "
        "another kind; give the file that the weights were published in"
    )


def _check_zip(stream: BinaryIO, path: Path) -> None:
    """Make sure that a zip archive is a whole file of `torch.save`."""
    try:
        with zipfile.ZipFile(stream) as bundle:
            names = bundle.namelist()
            torch_file = any(name.endswith("/data.pkl") for name in names)
            broken = bundle.testzip() if torch_file else None
    except Exception as error:  # what damaged archives raise has no common base
        raise UserError(f"{path} is cut short or damaged ({reason_of(error)}); fetch it again") from error
    if broken is not None:
        raise UserError(f"{path} is damaged: the checksum of {broken} in it is wrong; fetch it again")
    if any(name.endswith("/constants.pkl") for name in names):
        raise UserError(
            f"{path} is a TorchScript program, whose code is never run here; save its state_dict() by torch.save"
        )
    if not torch_file:
        shown = ", ".join(names[:3]) + ", ..." * (len(names) > 3)
        raise UserError(f"{path} is a zip archive of {shown or 'nothing'}; unpack it and give the weights file in it")
