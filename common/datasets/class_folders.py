"""Images in class folders, as torchvision reads them, without the litter of operating systems and editors."""

from collections.abc import Callable
from pathlib import Path

from PIL import Image
from torchvision.datasets import ImageFolder
from torchvision.datasets.folder import is_image_file

from common.files import is_litter


class ClassFolders(ImageFolder):
    """`ImageFolder` that passes over hidden files and folders, `__MACOSX`, `Thumbs.db` and `desktop.ini`."""

    def __init__(self, root: str, transform: Callable, loader: Callable[[str], Image.Image]):
        super().__init__(root, transform, loader=loader, is_valid_file=self._is_image)

    def find_classes(self, directory: str) -> tuple[list[str], dict[str, int]]:
        """Names of the class folders, sorted, and their positions."""
        names = [name for name in super().find_classes(directory)[0] if not is_litter(name)]
        if not names:
            raise FileNotFoundError("there are no class folders")
        return names, {name: label for label, name in enumerate(names)}

    def _is_image(self, path: str) -> bool:
        parts = Path(path).relative_to(self.root).parts
        return is_image_file(path) and not any(map(is_litter, parts))
