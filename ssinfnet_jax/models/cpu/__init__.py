"""Forms of operations that were measured to be faster on CPUs, gradients written out included: used there only.

`models.ops` and `blocks.BatchNorm` choose them. GPUs and TPUs run XLA's and flax's own forms until a measurement there
says otherwise.
"""
