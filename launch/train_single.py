"""Trains the single network, which finds the lesion: one stage of `launch.pipeline`, with the same flags."""

from launch import stages

if __name__ == "__main__":
    stages.main("train_single")
