"""Trains the networks for cross-fitted priors: one stage of `launch.pipeline`, with the same flags."""

from launch import stages

if __name__ == "__main__":
    stages.main("crossfit_single")
