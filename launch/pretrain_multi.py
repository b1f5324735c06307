"""Adversarial inpainting with the multi network: one stage of `launch.pipeline`, with the same flags."""

from launch import stages

if __name__ == "__main__":
    stages.main("pretrain_multi")
