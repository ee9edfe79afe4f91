"""One file for each kind of thing that stands in a street scene."""
