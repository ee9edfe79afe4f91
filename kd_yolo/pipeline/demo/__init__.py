"""``kd-yolo demo``: what it trains, what it shows at the end, and whether that is a gain."""
