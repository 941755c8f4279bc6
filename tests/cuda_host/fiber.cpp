// SPDX-License-Identifier: Apache-2.0
/* The switch between two stacks: by hand for x86-64 and AArch64, else by ucontext, which is right
 * and several times slower (CUDA_HOST_UCONTEXT asks for it). */
#include "fiber.h"

#include "execution.h"

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sys/mman.h>
#include <unistd.h>

#if CUDA_HOST_ASAN
#include <sanitizer/common_interface_defs.h>
#endif

#if defined(CUDA_HOST_UCONTEXT) || !(defined(__x86_64__) || defined(__aarch64__))
#define BY_HAND 0
#include <ucontext.h>
#else
#define BY_HAND 1
#endif

#if BY_HAND && defined(__x86_64__)
asm(R"(
.text
.globl cuda_host_switch
.type cuda_host_switch, @function
cuda_host_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
.size cuda_host_switch, .-cuda_host_switch
)");
#elif BY_HAND
asm(R"(
.text
.globl cuda_host_switch
.type cuda_host_switch, %function
cuda_host_switch:
    sub sp, sp, #160
    stp x19, x20, [sp]
    stp x21, x22, [sp, #16]
    stp x23, x24, [sp, #32]
    stp x25, x26, [sp, #48]
    stp x27, x28, [sp, #64]
    stp x29, x30, [sp, #80]
    stp d8, d9, [sp, #96]
    stp d10, d11, [sp, #112]
    stp d12, d13, [sp, #128]
    stp d14, d15, [sp, #144]
    mov x9, sp
    str x9, [x0]
    mov sp, x1
    ldp x19, x20, [sp]
    ldp x21, x22, [sp, #16]
    ldp x23, x24, [sp, #32]
    ldp x25, x26, [sp, #48]
    ldp x27, x28, [sp, #64]
    ldp x29, x30, [sp, #80]
    ldp d8, d9, [sp, #96]
    ldp d10, d11, [sp, #112]
    ldp d12, d13, [sp, #128]
    ldp d14, d15, [sp, #144]
    add sp, sp, #160
    ret
.size cuda_host_switch, .-cuda_host_switch
)");
#endif

#if BY_HAND
/* Saves the registers that a call preserves, and the stack pointer in *save; goes on at `load`. */
extern "C" void cuda_host_switch(void **save, void *load);
#endif

namespace cuda_host
{

namespace
{

constexpr unsigned char MARK = 0x5a;
constexpr size_t MARKED      = 4096;
constexpr size_t STEP        = 256; /* of the bytes that are looked at */

fiber *previous; /* what the fiber that has just been entered was entered from */
void (*entry)();

/* All stacks lie together and are one to the sanitizer, which is notified where the thread's own is
 * left or entered: that takes longer than a switch. */
struct {
    char *base;
    size_t made, bytes;
    void *fake;
} stacks;

#if CUDA_HOST_ASAN
void leave(fiber &from, const fiber &to)
{
    if (from.made && to.made) {
        return;
    }
    __sanitizer_start_switch_fiber(from.made ? &stacks.fake : &from.fake,
                                   to.made ? stacks.base : to.stack,
                                   to.made ? stacks.bytes : to.size);
}

/* Only when the switch is complete are the thread's bounds known. */
void arrive(bool made, void *fake)
{
    const void *bottom = nullptr;
    size_t size        = 0;

    if (made && previous->made) {
        return;
    }
    __sanitizer_finish_switch_fiber(made ? stacks.fake : fake, &bottom, &size);
    if (!previous->made) {
        previous->stack = static_cast<char *>(const_cast<void *>(bottom));
        previous->size  = size;
    }
}
#else
void leave(fiber &, const fiber &)
{
}

void arrive(bool, void *)
{
}
#endif

void begin()
{
    arrive(true, nullptr);
    entry();
    std::abort();
}

[[noreturn]] void no_memory()
{
    std::fprintf(stderr, "cuda_host: no memory for the stack of a thread\n");
    std::abort();
}

/* Each has a page below it that nobody can touch. */
char *stack_of(size_t size)
{
    size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));

    if (stacks.base == nullptr) {
        stacks.bytes = MOST_THREADS * (size + page);
        void *memory = mmap(nullptr, stacks.bytes, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (memory == MAP_FAILED) {
            no_memory();
        }
        stacks.base = static_cast<char *>(memory);
    }
    char *guard = stacks.base + stacks.made * (size + page);
    if (mprotect(guard, page, PROT_NONE) != 0) {
        no_memory();
    }
    return guard + page;
}

#if BY_HAND

/* A stack as cuda_host_switch leaves it, with zeros in all registers. */
void *context_of(char *stack, size_t size)
{
    void **top = reinterpret_cast<void **>(stack + size);
#if defined(__x86_64__)
    top[-2] = reinterpret_cast<void *>(&begin); /* under it the place of a return address */
    return top - 8;
#else
    top[-20 + 11] = reinterpret_cast<void *>(&begin); /* x30 */
    return top - 20;
#endif
}

void change(fiber &from, fiber &to)
{
    cuda_host_switch(&from.context, to.context);
}

#else

void *context_of(char *stack, size_t size)
{
    ucontext_t *context = new ucontext_t;

    if (getcontext(context) != 0) {
        no_memory();
    }
    context->uc_stack.ss_sp   = stack;
    context->uc_stack.ss_size = size;
    context->uc_link          = nullptr;
    makecontext(context, &begin, 0);
    return context;
}

void change(fiber &from, fiber &to)
{
    if (from.context == nullptr) {
        static ucontext_t own; /* of the thread */
        from.context = &own;
    }
    (void)swapcontext(static_cast<ucontext_t *>(from.context),
                      static_cast<ucontext_t *>(to.context));
}

#endif

} // namespace

/* Stacks begin at different lines of a page, or their tops would displace each other from the
 * caches. */
fiber fiber_create(size_t size, void (*main)())
{
    char *stack   = stack_of(size);
    size_t colour = stacks.made * 5 % 64 * 64;

    entry = main;
    std::memset(stack, MARK, MARKED);
    stacks.made++;
    return fiber{context_of(stack, size - colour), stack, size, nullptr, true};
}

void fiber_switch(fiber &from, fiber &to)
{
    previous = &from;
    leave(from, to);
    change(from, to);
    arrive(from.made, from.fake);
}

bool fiber_overflowed(const fiber &f)
{
    for (size_t i = 0; i < MARKED; i += STEP) {
        if (static_cast<unsigned char>(f.stack[i]) != MARK) {
            return true;
        }
    }
    return false;
}

} // namespace cuda_host
