"""The command line: arguments -> configuration -> one call; ``--flag value`` is ours, ``key=value`` ultralytics'.

Every command ends with where the results are and the next command to type, or with an error that says what to do and
a documented exit code (see :mod:`kd_yolo.base.errors`).
"""
