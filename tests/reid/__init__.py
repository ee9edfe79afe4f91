"""Tests of person re-identification."""
