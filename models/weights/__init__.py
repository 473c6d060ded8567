"""Weights files of these networks: ours, the authors', ONNX; read, check, choose, convert."""
