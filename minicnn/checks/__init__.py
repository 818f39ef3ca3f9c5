"""Numerical gradients, the gradient checker, and the contract that every layer keeps."""
