"""Grad-CAM: what in a picture spoke for a class, from blue (nothing) to red (GAC, AAAI 2024).

python visual/test_GradCAM.py PICTURE -net resnet34 --weights FILE
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from common.analysis.gradcam import grad_cam, overlay
from common.datasets.imagenet import centre, load_rgb, to_tensor
from common.errors import UserError
from common.files import atomic_path
from common.ms_resnet.trainer import build_model, network_options, parse_checked
from common.training import Flags, run, start
from gac.ImageNet.train_amp import PRESET


def main() -> None:
    """Draw one picture."""
    flags = Flags(__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    option = flags.option
    option("picture", type=Path, help="an image file")
    option("--weights", type=Path, required=True, help="weights of the network: a file, or a name in the store")
    option("--layer", default="conv5_x", help="module whose output is looked at (default: %(default)s)")
    option("--target", type=int, help="class, by default the predicted one")
    option("--output", type=Path, default=Path("cam.jpg"), help="file to write (default: %(default)s)")
    option("--device", default="auto", help="auto, cpu or cuda (default: %(default)s)")
    option("--tiny", action="store_true", help="the weights come from a run with --tiny, which has 10 classes")
    network_options(flags, PRESET)
    flags.set_defaults(eval=True, num_classes=1000)
    args = parse_checked(flags, PRESET)
    if not args.picture.is_file():
        raise UserError(f"there is no file {args.picture}; give the path of an image")
    process = start(args.device)
    model = build_model(PRESET, args, 10 if args.tiny else args.num_classes, process)
    from torchvision.transforms import v2  # takes two seconds, which the flags need not wait for

    picture = v2.Compose(centre(args.img_size))(load_rgb(args.picture))
    image = v2.Compose(to_tensor())(picture)[None].to(process.device)
    cam = grad_cam(model, image, args.layer, args.target)
    with atomic_path(args.output) as temporary:
        Image.fromarray(overlay(cam.map, np.asarray(picture))).save(temporary)
    print(f"class {cam.target}, logit {float(cam.logit):.3f}: {args.output}")


if __name__ == "__main__":
    run(main)
