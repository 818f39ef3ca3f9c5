"""Is this backward the derivative of this forward? Numerical gradients, the checker, the contract of layers."""
