"""Training and testing GAC-MS-ResNet on CIFAR10 and CIFAR100."""
