"""State dicts of narrow networks with torchvision's ResNet names and random values."""

import numpy as np


def resnet(block, depths, width, *, downsample_from=0):
    """Returns a ResNet's named tensors: `block` "basic" (two 3x3) or "bottleneck" (1x1, 3x3, 1x1 to four times)."""
    rng = np.random.default_rng(0)
    tensors = {}

    def conv(name, features, channels, kernel):
        tensors[f"{name}.weight"] = rng.normal(0, 0.1, (features, channels, kernel, kernel)).astype(np.float32)

    def norm(name, features):
        for leaf in ("weight", "bias", "running_mean"):
            tensors[f"{name}.{leaf}"] = rng.normal(0, 0.1, features).astype(np.float32)
        tensors[f"{name}.running_var"] = rng.uniform(0.5, 2, features).astype(np.float32)
        tensors[f"{name}.num_batches_tracked"] = np.int64(7)

    conv("conv1", width, 3, 7)
    norm("bn1", width)
    channels = width
    for stage, depth in enumerate(depths):
        features = width * 2**stage
        out = 4 * features if block == "bottleneck" else features
        for index in range(depth):
            name = f"layer{stage + 1}.{index}"
            kernels = (1, 3, 1) if block == "bottleneck" else (3, 3)
            sizes = (features, features, out) if block == "bottleneck" else (features, features)
            inputs = channels
            for number, (kernel, size) in enumerate(zip(kernels, sizes, strict=True), start=1):
                conv(f"{name}.conv{number}", size, inputs, kernel)
                norm(f"{name}.bn{number}", size)
                inputs = size
            if index == 0 and stage >= downsample_from:
                conv(f"{name}.downsample.0", out, channels, 1)
                norm(f"{name}.downsample.1", out)
            channels = out
    return tensors


def resnet50(width=8):
    """Returns an ImageNet classifier: ResNet-50 with its `fc`."""
    tensors = resnet("bottleneck", (3, 4, 6, 3), width)
    return {**tensors, "fc.weight": np.zeros((10, 32 * width), np.float32), "fc.bias": np.zeros(10, np.float32)}


def coach(width=8, latent=100):
    """Returns a published coach: ResNet-18 and its three 1x1 convolutions."""
    tensors = resnet("basic", (2, 2, 2, 2), width, downsample_from=1)
    rng = np.random.default_rng(1)
    for name, features, channels in (("mu", latent, 8 * width), ("std", latent, 8 * width), ("pred", 1, latent)):
        tensors[f"{name}.weight"] = rng.normal(0, 0.1, (features, channels, 1, 1)).astype(np.float32)
        tensors[f"{name}.bias"] = rng.normal(0, 0.1, features).astype(np.float32)
    return tensors
