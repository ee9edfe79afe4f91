"""Distillation: a student trains under a frozen teacher.

In come a student and a teacher model and a :class:`~kd_yolo.config.distill.DistillConfig`; out comes a plain
``DetectionModel``. Taps read features of both models, adapters bring the student's to the teacher's channels, terms
compare them, the criterion adds their weighted sum to the task loss, and the trainer puts all of that at the right
seams of ultralytics' training loop.
"""
