"""Pictures of runs: curves, confusion matrix, filters, mistakes, an image on its way through the network."""
