"""Reports of scores: every plot that applies, and a page that holds all."""
