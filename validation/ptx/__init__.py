"""Compiled PTX run on a CPU: right numbers, and every fault that a card would not report.

    parse.py       PTX text -> Kernel: parameters, registers, memories, instructions
    translate.py   Kernel -> C, one statement an instruction
    arithmetic.py  what an instruction computes
    machine.h      what the statements call: threads, barriers, memory with the record of who touched it
    run.py         gcc, a launch on NumPy arrays, `Fault`
    mutate.py      a kernel with one thing broken, to see that its fault is found

A thread of the card is a coroutine that runs from barrier to barrier. Each word of memory remembers the last thread
that wrote it and the last that read it, and in which phase, so that a race is found however the threads happened to
run. Needs gcc (or `CC`) with ucontext.h: Linux.

What is modelled    loads, stores, barriers of whole blocks, arithmetic in float32, float64 and integers; approximate
                    instructions are as wrong as PTX allows
What is not         warps (shuffles, votes), atomics, textures, calls, caches, time: a kernel that needs them is refused
"""
