"""Trains the networks that cross-fitted priors come from: one stage of `launch.pipeline`, with the same flags."""

from launch import stages

if __name__ == "__main__":
    stages.main("crossfit_single")
