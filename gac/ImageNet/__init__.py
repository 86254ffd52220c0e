"""Training and testing GAC-MS-ResNet on ImageNet."""
