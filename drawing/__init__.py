"""A person drawn by our own code, in 3-D, with the truth about every landmark."""
