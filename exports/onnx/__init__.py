"""ONNX: inference, feedback, one learning step, and spiking networks as a step or a loop, in standard operators alone."""
