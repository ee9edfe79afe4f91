"""Model descriptions, the YAMLs that ultralytics executes: checked and budgeted before anything is built."""
