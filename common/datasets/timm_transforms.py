"""timm's transforms of pictures, mended for Pillow 13."""

from collections.abc import Callable

from PIL import Image


def create_transform(*arguments: object, **settings: object) -> Callable[[Image.Image], object]:
    """`timm.data.create_transform` with the magnitudes that its policies reach.

    The strongest posterisation of "rand-...-inc1" keeps 0 bits: black, which Pillow refuses since its version 13.
    """
    from timm.data import auto_augment, create_transform

    for name, operation in auto_augment.NAME_TO_OP.items():
        if operation is auto_augment.posterize:
            auto_augment.NAME_TO_OP[name] = _posterize
    return create_transform(*arguments, **settings)


def _posterize(image: Image.Image, bits_to_keep: int, **settings: object) -> Image.Image:
    from timm.data.auto_augment import posterize

    if bits_to_keep > 0:
        return posterize(image, bits_to_keep, **settings)
    return Image.new(image.mode, image.size)
