"""Network architectures on tensors: no environments, no files, no logging."""
