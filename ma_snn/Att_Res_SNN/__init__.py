"""Att-MS-ResNet on ImageNet."""
