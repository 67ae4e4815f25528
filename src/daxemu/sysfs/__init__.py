"""sysfs as projected from the model: which attributes there are, and the tree they make."""
