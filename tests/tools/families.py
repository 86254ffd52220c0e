"""One small network of every family: (name, --kwargs, shape of a batch of two)."""

from torch import nn

TRANSFORMER = ["embed_dim=32", "depth=1", "num_heads=2", "img_size=32"]
RESNET = ["width=8", "T=2", "num_classes=5", "blocks=(1,1,1,1)"]
IMAGES, FRAMES = [2, 3, 32, 32], [2, 4, 2, 32, 32]

FAMILIES = [
    ("sma_vgg8_dvs128", ["width=0.0625", "T=4"], [4, 2, 2, 32, 32]),
    ("sma_vgg8_ncaltech101", ["width=0.0625", "T=4", "lightweight=True"], [4, 2, 2, 32, 32]),
    ("sma_resnet18", RESNET, IMAGES),
    ("ma_snn_dvsgestures", ["width=0.125", "T=4", "t_ratio=2", "attention=TCSA"], FRAMES),
    ("ma_snn_dvsgestures", ["width=0.125", "T=4"], FRAMES),
    ("ma_snn_dvsgestures", ["width=0.125", "T=4", "neuron=liaf"], FRAMES),
    ("att_ms_resnet18", RESNET, IMAGES),
    ("ms_resnet18", RESNET, IMAGES),
    ("gac_ms_resnet18", RESNET, IMAGES),
    ("gac_ms_resnet18_cifar", ["width=4", "T=2"], IMAGES),
    ("ms_resnet18_cifar", ["width=4", "T=2"], IMAGES),
    ("spikingformer_8_384", TRANSFORMER, IMAGES),
    ("cml_spikingformer_cifar_4_384", TRANSFORMER, IMAGES),
    ("spikingformer_dvs_2_256", TRANSFORMER, FRAMES),
    ("cml_spikformer_dvs_2_256", TRANSFORMER, FRAMES),
    ("sdt_v3_tiny", ["embed_dim=(8,16,24,32)", "depth=2"], IMAGES),
    ("sdt_v3_gesture", ["embed_dim=(8,16,24,32)", "depth=2"], FRAMES),
    ("sdt_v3_83m", ["embed_dim=(8,16,32)", "depth=1", "T=2", "kd=True"], IMAGES),
]
IDS = [f"{name}-{'-'.join(kwargs[-1:])}" for name, kwargs, _ in FAMILIES]


def lively(model: nn.Module) -> nn.Module:
    """`model` in evaluation mode with batch norms that make its neurons fire; as initialised, few do."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.uniform_(module.weight, 1.0, 2.0)
            nn.init.normal_(module.bias, 0.5, 0.5)
    return model.eval()
