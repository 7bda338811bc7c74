"""The command lines: ``parse_args`` and ``main`` of each."""
