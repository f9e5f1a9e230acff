"""Networks of the First Order Motion Model family, their checkpoints and bundles."""
