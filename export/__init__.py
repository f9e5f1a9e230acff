"""From PyTorch modules to bundles of ONNX or TorchScript graphs."""
