"""The web page of person search: an image in, ranked matches out; detections of several models side by side.

From the inside out: ``upload`` (what a browser sends, as an image or a reason why not), ``guard`` (which requests are
answered at all), ``finder`` (the search behind the page), ``frames`` (a match in its source), ``comparison`` (several
detectors on one image), ``draw`` and ``text`` (what is seen), ``people_tab`` and ``compare_tab`` (the two tabs),
``app`` (the page) and ``serve`` (the server). Only ``people_tab``, ``compare_tab`` and ``app`` know gradio.

Nothing leaves the process but images that it drew itself, and what it serves needs no other host.
"""
