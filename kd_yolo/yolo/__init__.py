"""The one door to ultralytics: ``files`` (checkpoints), ``description`` (model YAMLs), ``arguments`` and ``data``.

Only this package, the trainers, and the parts of ``distill`` and ``prune`` that run inside its loop import
ultralytics. In come paths and models; out come plain ``DetectionModel`` objects and the few facts about them that the
rest of the project needs.
"""

import sys

from kd_yolo.base.environment import guard_environment

guard_environment()
for _name in ("ultralytics.utils", "ultralytics.utils.checks"):
    if _name in sys.modules:  # imported before: it has read the variables already
        vars(sys.modules[_name])["AUTOINSTALL"] = False
