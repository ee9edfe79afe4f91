"""Reports: images of what a run did. Reads run folders and predictions; imports no training code."""
