"""Training of the compact networks."""
