"""Foreign arrays as aligned columns of samples: what all importers of array formats share."""
