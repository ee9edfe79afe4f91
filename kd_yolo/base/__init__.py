"""The ground floor: small things that every package shares and that know nothing of the packages above.

``reading`` is the one door for files that a user names: regular files only, sizes checked before they are read, YAML
and JSON whose content cannot grow without bound; ``images`` does the same for images. ``files`` and ``folders`` write
beside and rename. ``device`` knows the names of devices, ``extras`` the optional packages, ``registry`` classes by
name, ``places`` where recipes, weights and runs lie. ``environment`` is what every process of ours sets before anything
of ultralytics is imported.
"""
