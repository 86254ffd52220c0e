"""Google Drive, through gdown."""

import importlib
from pathlib import Path
from types import ModuleType

from common.errors import UserError
from common.files import make_folder

TIMEOUT = 60
"""Seconds without a byte after which the connection counts as lost."""


def client() -> ModuleType:
    """The module gdown.

    Raises:
        UserError: it is absent or too old.
    """
    try:
        gdown = importlib.import_module("gdown")
    except ImportError as error:
        raise UserError(f"Google Drive needs gdown, which is not installed; {_INSTALL}") from error
    if int(gdown.__version__.partition(".")[0]) < 6:
        raise UserError(f"Google Drive needs gdown 6, here is {gdown.__version__}; {_INSTALL}")
    return gdown


_INSTALL = 'run pip install "spiking-papers[weights]" or pip install "gdown>=6"'


def download(file_id: str, folder: Path, *, retries: int) -> Path:
    """Fetch a public file into `folder` under the name it has on Google Drive, with a progress bar on stderr.

    What an interrupted call left behind is continued, and a file that is there already is returned as it is.

    Args:
        file_id: the id in the file's link.
        folder: made if absent.
        retries: how often a lost connection is taken up again within this call.

    Raises:
        UserError: gdown is absent, Google Drive does not give the file, the connection or the disk fails.
    """
    gdown = client()
    requests = importlib.import_module("requests")
    page = f"https://drive.google.com/file/d/{file_id}/view"
    make_folder(folder)
    try:
        path = gdown.download(
            id=file_id, output=f"{folder}/", resume=True, retries=retries, timeout=TIMEOUT, use_cookies=False
        )
    except gdown.exceptions.FileURLRetrievalError as error:
        raise UserError(_refusal(_one_line(error), page)) from error
    except gdown.exceptions.DownloadError as error:
        raise UserError(
            f"{_one_line(error)} Run the same command to go on from there, or remove {folder} to start anew"
        ) from error
    except requests.RequestException as error:
        raise UserError(
            f"no network to Google Drive ({type(error).__name__}): check the connection and the proxy, then run the "
            "same command: it goes on where it stopped"
        ) from error
    except OSError as error:
        raise UserError(
            f"cannot write to {folder}: {error.strerror}; make room on that disk, or set TORCH_HOME to a folder on "
            "another one; the same command goes on where it stopped"
        ) from error
    return Path(path)


def _refusal(message: str, page: str) -> str:
    """What to do when Google Drive sends a page in place of the file."""
    if "too many users" in message.lower() or "quota" in message.lower():
        return (
            f"Google Drive's quota for {page} is used up by too many downloads: wait up to 24 hours and try again, or "
            "open the link in a browser signed in to Google, make a copy in your own Drive, download that, and use "
            "`import NAME PATH`"
        )
    return (
        f"Google Drive sends a page in place of the file {page}: it may be removed or not public; open the link in a "
        "browser, download the file there, and use `import NAME PATH`"
    )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
