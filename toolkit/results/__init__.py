"""Result files: where they lie, and how they are written and read."""
