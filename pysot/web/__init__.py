"""The page of ``pysot demo --web``: sessions, visitors, access, and the page itself."""
