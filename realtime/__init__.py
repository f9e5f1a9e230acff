"""The live path: source -> face -> crop -> engine -> label -> sinks."""
