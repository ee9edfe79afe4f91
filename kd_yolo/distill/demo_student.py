"""The demo's student: distilled once on the built-in street scenes, for whoever has no weights at all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kd_yolo.distill.demo import STUDENT_RUN
from kd_yolo.distill.job import Request, Result, distil, make_plan, with_run_folder


def train_demo_student(say: Callable[[str], None], **changes: Any) -> Result:
    """Draws the scenes and trains the teacher where they are not there yet, then distils the student.

    Args:
        say: called with a line when the teacher is there.
        **changes: of the run's ultralytics arguments (``epochs``, ``device``, ...).

    Returns:
        The run, in ``runs/distill/demo``.
    """
    plan = with_run_folder(make_plan(Request(overrides={**STUDENT_RUN, **changes})), "demo")
    say(f"student {plan.student} under {plan.config.teacher}")
    return distil(plan)
