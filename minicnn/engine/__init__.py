"""The engine: operations, layers, networks, losses and optimizers."""
