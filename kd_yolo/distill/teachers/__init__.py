"""Teachers: how they are opened, where and how often they run, and what is kept of what they say."""
