// SPDX-License-Identifier: Apache-2.0
/* The running thread, for what it calls. */
#pragma once

namespace cuda_host
{

constexpr int MOST_THREADS = 1024;

int current_thread(); /* its number in the block */

/* Ends the process with a message that names kernel, block and thread. */
[[noreturn]] void fail(const char *message);

/* A thread returns: all its asynchronous copies must have been waited for. */
void async_end();

} // namespace cuda_host
