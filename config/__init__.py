"""Settings and network configurations: typed, with units, read from YAML."""
