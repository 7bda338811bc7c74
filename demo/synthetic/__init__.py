"""Short videos with exact boxes and masks, drawn from a seed."""
