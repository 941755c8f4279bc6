// SPDX-License-Identifier: Apache-2.0
/* Rates of the product library's kernels, in this process and in separate ones: OpenBLAS takes
 * other kernels only when it is loaded again. */
#include "choice.h"
#include "kernels.h"

#include "pb/clock.h"
#include "pb/memory.h"

#include <cblas.h>
#include <omp.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    SIDE          = 320, /* of the square factors: 1.2 MB in all, a few milliseconds at most */
    PRODUCTS_MIN  = 3,
    CHILD_SECONDS = 30 /* a machine may be busy; the child needs a tenth of a second */
};

static const double MEASURE_SECONDS = 0.025;

static const char child_option[] = "--measure-kernels";

unsigned kernels_features(bool *amd)
{
    unsigned features = 0;
    *amd              = false;
#if defined(__x86_64__) || defined(__i386__)
    __builtin_cpu_init(); /* asks the system as well whether it keeps the wide registers */
    features |= __builtin_cpu_supports("avx") ? CHOICE_AVX : 0u;
    features |= __builtin_cpu_supports("fma") ? CHOICE_FMA3 : 0u;
    features |= __builtin_cpu_supports("fma4") ? CHOICE_FMA4 : 0u;
    features |= __builtin_cpu_supports("avx2") ? CHOICE_AVX2 : 0u;
    features |= __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512cd") &&
                        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
                        __builtin_cpu_supports("avx512vl")
                    ? CHOICE_AVX512
                    : 0u;
    features |= __builtin_cpu_supports("avx512bf16") ? CHOICE_BF16 : 0u;
    *amd = __builtin_cpu_is("amd");
#endif
    return features;
}

bool kernels_selectable(void)
{
#ifdef PB_HAVE_OPENBLAS
    return strstr(openblas_get_config(), "DYNAMIC_ARCH") != NULL;
#else
    return false;
#endif
}

void kernels_name(char name[PB_KERNELS_NAME])
{
#ifdef PB_HAVE_OPENBLAS
    snprintf(name, PB_KERNELS_NAME, "%s", openblas_get_corename());
#else
    name[0] = '\0';
#endif
}

double kernels_thread_seconds(void)
{
    struct timespec now = {0};
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* The best rate of products of `block` (three factors, one after another) by this clock. */
static double best_rate(float *block, double (*clock)(void))
{
    const size_t size = (size_t)SIDE * SIDE;
    double begin      = clock();
    double best       = 0.0;
    double now        = begin;
    for (int i = 0; i <= PRODUCTS_MIN || now - begin < MEASURE_SECONDS; i++) {
        double start = clock();
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, SIDE, SIDE, SIDE, 1.0f, block, SIDE,
                    block + size, SIDE, 0.0f, block + 2 * size, SIDE);
        now         = clock();
        double rate = 2.0 * SIDE * SIDE * SIDE / (now - start) / 1e9;
        best        = i > 0 && now > start && rate > best ? rate : best; /* the first warms up */
    }
    return best;
}

void kernels_threads_each(int threads)
{
#ifdef PB_HAVE_OPENBLAS
    openblas_set_num_threads(threads);
#else
    (void)threads;
#endif
}

int kernels_all_threads(void)
{
    const char *set = getenv("OMP_NUM_THREADS");
    long threads    = set != NULL ? strtol(set, NULL, 10) : 0; /* of a list, the outer level's */
    threads         = threads > 0 && threads <= INT_MAX ? threads : omp_get_num_procs();
    return threads < omp_get_thread_limit() ? (int)threads : omp_get_thread_limit();
}

double kernels_rate(void)
{
    float *block = NULL;
    kernels_threads_each(1);
    if (PB_ALLOC(block, 3 * SIDE * SIDE) != PB_OK) {
        pb_error_clear();
        return 0.0;
    }
    double rate = best_rate(block, kernels_thread_seconds);
    pb_memory_free(block);
    return rate;
}

double kernels_rate_together(int threads)
{
    const size_t size = (size_t)3 * SIDE * SIDE;
    float *blocks     = NULL;
    double sum        = 0.0;
    kernels_threads_each(1);
    if (PB_ALLOC(blocks, size * (size_t)threads) != PB_OK) {
        pb_error_clear();
        return 0.0;
    }
#pragma omp parallel num_threads(threads) reduction(+ : sum)
    {
        float *own = blocks + size * (size_t)omp_get_thread_num();
        memset(own, 0, size * sizeof *own);
#pragma omp barrier
        sum += best_rate(own, pb_clock_seconds);
    }
    pb_memory_free(blocks);
    return sum;
}

bool pb_kernels_child(int argc, char *const *argv)
{
    char name[PB_KERNELS_NAME];
    char line[128];
    if (argc != 3 || strcmp(argv[1], child_option) != 0) {
        return false;
    }
    long threads    = strtol(argv[2], NULL, 10);
    double one      = kernels_rate();
    double together = threads > 1 ? kernels_rate_together((int)threads) : one;
    kernels_name(name);
    int length = snprintf(line, sizeof line, "%s %.3f %.3f\n", name, one, together);
    return write(STDOUT_FILENO, line, (size_t)length) == length;
}

/* Starts this program again with its standard output in *output. */
static bool start_child(int threads, pid_t *child, int *output)
{
    char count[16];
    char *argv[] = {"peftbench", (char *)child_option, count, NULL};
    posix_spawn_file_actions_t actions;
    int ends[2];
    snprintf(count, sizeof count, "%d", threads);
    if (pipe2(ends, O_CLOEXEC) != 0) {
        return false;
    }
    bool started = false;
    if (posix_spawn_file_actions_init(&actions) == 0) {
        started = posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO) == 0 &&
                  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY,
                                                   0) == 0 &&
                  posix_spawn(child, "/proc/self/exe", &actions, NULL, argv, environ) == 0;
        (void)posix_spawn_file_actions_destroy(&actions);
    }
    close(ends[1]);
    if (!started) {
        close(ends[0]);
    }
    *output = ends[0];
    return started;
}

/* The child's line; "" when it ends without one or takes too long. */
static void read_line(int from, char *line, size_t size)
{
    double deadline = pb_clock_seconds() + CHILD_SECONDS;
    size_t used     = 0;
    while (used + 1 < size && memchr(line, '\n', used) == NULL) {
        struct pollfd wait = {.fd = from, .events = POLLIN};
        double left        = deadline - pb_clock_seconds();
        int ready          = left > 0.0 ? poll(&wait, 1, (int)(1e3 * left) + 1) : 0;
        if (ready < 0 && errno == EINTR) {
            continue;
        }
        ssize_t got = ready > 0 ? read(from, line + used, size - 1 - used) : 0;
        if (got <= 0) {
            break;
        }
        used += (size_t)got;
    }
    line[used] = '\0';
}

bool kernels_try(const char *name, int threads, pb_kernels_rate *took)
{
    char before[PB_KERNELS_NAME] = "";
    char line[128]               = "";
    const char *setting          = getenv(KERNELS_SETTING);
    pid_t child                  = 0;
    int output                   = -1;
    bool was_set                 = setting != NULL;
    snprintf(before, sizeof before, "%s", was_set ? setting : "");
    (void)setenv(KERNELS_SETTING, name, 1);
    bool started = start_child(threads, &child, &output);
    if (was_set) {
        (void)setenv(KERNELS_SETTING, before, 1);
    } else {
        (void)unsetenv(KERNELS_SETTING);
    }
    if (!started) {
        return false;
    }
    read_line(output, line, sizeof line);
    close(output);
    (void)kill(child, SIGKILL); /* it has said all, or will say nothing */
    while (waitpid(child, NULL, 0) < 0 && errno == EINTR) {
    }
    took->threads = threads;
    return sscanf(line, "%31s %lf %lf", took->name, &took->gflops, &took->gflops_threads) == 3;
}
