"""Where frames come from and what flows on: sources, decoding, numbers of cameras, crops and their vectors."""
