"""Forms of operations, some with hand-written gradients, that are faster on CPUs, by measurement, and used only there.

`models.ops` and `blocks.BatchNorm` choose them. GPUs and TPUs use XLA's and flax's own forms.
"""
