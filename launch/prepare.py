"""Converts the dataset to records and splits it by patient: one stage of `launch.pipeline`, with the same flags."""

from launch import stages

if __name__ == "__main__":
    stages.main("prepare")
