"""Files, images, labels, boxes and videos on disk, each read and written in one place."""
