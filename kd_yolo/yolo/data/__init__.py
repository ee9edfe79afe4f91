"""The data side of ultralytics: its readers behind a guard, batches of images, label caches."""
