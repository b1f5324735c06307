"""Trains the multi network, which tells GGO from consolidation: one stage of `launch.pipeline`, with the same flags."""

from launch import stages

if __name__ == "__main__":
    stages.main("train_multi")
