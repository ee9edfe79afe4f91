"""The one door to ultralytics: safe loading, facts about detection heads, version guard, process settings.

Only this package, the trainers in ``kd_yolo/distill`` and ``patches/`` import ultralytics. In come paths and models;
out come plain ``DetectionModel`` objects and the few facts about them that the rest of the project needs.
"""

import sys

from kd_yolo.base.environment import guard_environment

guard_environment()
for _name in ("ultralytics.utils", "ultralytics.utils.checks"):
    if _name in sys.modules:  # imported before: it has read the variables already
        vars(sys.modules[_name])["AUTOINSTALL"] = False
