"""The few operations of the decoder and the encoder that decide the time: in plain torch, and in Triton for CUDA.

`twin` is the reference, used on a CPU and wherever the Triton kernels are not there or fail their test on the card at
hand (`choose`). Feature maps are channels-last; "rows" are those of `engine.fold`.
"""
