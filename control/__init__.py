"""A run controlled: actions, keys, hotkeys, a local API, profiles."""
