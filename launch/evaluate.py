"""Evaluates both networks on the test split: one stage of `launch.pipeline`, with the same flags."""

from launch import stages

if __name__ == "__main__":
    stages.main("evaluate")
