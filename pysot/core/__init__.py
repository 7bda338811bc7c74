"""Configuration, registries, and correlation."""


class RunFailed(RuntimeError):
    """A run could not go on although its input was accepted; its message is for the user."""
