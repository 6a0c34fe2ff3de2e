"""Operations whose cost is what a batch touches: one folder each, plain torch for the CPU and Triton for CUDA.

Every operation is called with ``impl="auto"`` (Triton for CUDA tensors where it is installed, else the reference).
"""
