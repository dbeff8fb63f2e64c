"""ONNX: inference, feedback, a learning step, and spiking networks as a step or a loop, in standard operators."""
