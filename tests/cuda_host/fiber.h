// SPDX-License-Identifier: Apache-2.0
/* Fibers: functions with stacks of their own, which hand the processor to each other. The thread
 * that creates them is one as well. The address sanitizer is notified
 * of switches to and from its stack. */
#pragma once

#include <cstddef>

/* Whether the program has the sanitizer, for files that are compiled without it. */
#if defined(__has_feature) && !defined(CUDA_HOST_ASAN)
#if __has_feature(address_sanitizer)
#define CUDA_HOST_ASAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) && !defined(CUDA_HOST_ASAN)
#define CUDA_HOST_ASAN 1
#endif
#ifndef CUDA_HOST_ASAN
#define CUDA_HOST_ASAN 0
#endif

namespace cuda_host
{

struct fiber {
    void *context; /* where it goes on: a stack pointer, or a ucontext_t */
    char *stack;   /* NULL: the thread's own */
    size_t size;
    void *fake; /* the sanitizer's */
    bool made;  /* by fiber_create */
};

/* A fiber that begins with `main` at the first switch to it; main never returns. The stack is
 * `size` bytes, a multiple of the page and the same for all, and never released. At most
 * MOST_THREADS fibers. */
fiber fiber_create(size_t size, void (*main)());

void fiber_switch(fiber &from, fiber &to);

/* Whether any of the last 4096 bytes of the stack was ever written; what lies beyond them cannot be
 * touched. */
bool fiber_overflowed(const fiber &f);

} // namespace cuda_host
