// SPDX-License-Identifier: Apache-2.0
/* The device's own checker, compute-sanitizer, over a case of every operation. */
#include "bench_gpu.h"

#include "pb/file.h"
#include "pb/memory.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static const char all_operations[] = "a case of every operation";

static const char *find_sanitizer(void)
{
    static char found[4096];
    const char *path = getenv("PATH");
    char places[16384];
    (void)snprintf(places, sizeof places, "%s:/usr/local/cuda/bin", path != NULL ? path : "");
    char *rest = places;
    for (char *place = NULL; (place = strsep(&rest, ":")) != NULL;) {
        (void)snprintf(found, sizeof found, "%s/compute-sanitizer", place);
        if (*place != '\0' && access(found, X_OK) == 0) {
            return found;
        }
    }
    return NULL;
}

/* Does not return. The part `operations` runs under the tool; its results do not count for this
 * part and go to a file. */
static void become_tool(const bench *b, const char *sanitizer, const char *tool, const char *log,
                        const char *results)
{
    char program[4096] = "";
    int out            = open(results, O_WRONLY | O_CREAT, 0600);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (out >= 0 && readlink("/proc/self/exe", program, sizeof program - 1) > 0) {
        dup2(out, STDOUT_FILENO);
        execl(sanitizer, sanitizer, "--tool", tool, "--error-exitcode", "99", "--log-file", log,
              program, "--one-part", "2", "--tiny", "--seconds", b->tiny ? "1000" : "20",
              "--device", b->device, (char *)NULL);
    }
    _exit(127);
}

/* Its exit code; a signal counts as 128 and more, as a shell has it. */
static int run(const bench *b, const char *sanitizer, const char *tool, const char *log,
               const char *results)
{
    int state   = 0;
    pid_t child = fork();
    if (child == 0) {
        become_tool(b, sanitizer, tool, log, results);
    }
    if (child < 0 || waitpid(child, &state, 0) != child) {
        return 127;
    }
    return WIFEXITED(state) ? WEXITSTATUS(state) : 128 + WTERMSIG(state);
}

static pb_status run_tool(const bench *b, const char *sanitizer, const char *tool,
                          const char *folder)
{
    enum { MOST_BYTES = 1 << 24 };
    char *log        = NULL;
    char *results    = NULL;
    pb_string said   = {0};
    pb_string told   = {0};
    pb_status status = PB_OK;
    char note[BENCH_TEXT];
    PB_TRY_GOTO(status, pb_path_join(folder, "report", &log), done);
    PB_TRY_GOTO(status, pb_path_join(folder, "results", &results), done);
    int code = run(b, sanitizer, tool, log, results);
    PB_TRY_GOTO(status, pb_file_read(results, MOST_BYTES, &told), done);
    if (code != 0 && pb_path_exists(log)) {
        PB_TRY_GOTO(status, pb_file_read(log, MOST_BYTES, &said), done);
        fputs(said.data, stderr);
    }
    (void)snprintf(note, sizeof note, "exit code %d%s%s", code,
                   code != 0 ? ", its report is in the lines before this one" : "",
                   strstr(told.data, "left out") != NULL ? ", not all in 20 s" : "");
    put_verdict(b, tool, all_operations, code == 0, note);
done:
    pb_string_clear(&told);
    pb_string_clear(&said);
    pb_memory_free(results);
    pb_memory_free(log);
    return status;
}

pb_status part_sanitizer(const bench *b)
{
    static const char *const tools[] = {"memcheck", "racecheck", "synccheck"};
    const char *sanitizer            = find_sanitizer();
    if (sanitizer == NULL) {
        put_text(b, "compute-sanitizer", "left out: it is neither in PATH nor in /usr/local/cuda");
        return PB_OK;
    }
    if (strcmp(b->backend, "cuda") != 0) {
        put_text(b, "compute-sanitizer", "left out: the device is not a GPU");
        return PB_OK;
    }
    for (size_t i = 0; i < sizeof tools / sizeof *tools; i++) {
        char *folder = NULL;
        if (!item_begin(b, tools[i], all_operations)) {
            continue;
        }
        pb_status status = pb_temporary_make("bench_gpu", &folder);
        status           = status == PB_OK ? run_tool(b, sanitizer, tools[i], folder) : status;
        if (status != PB_OK) {
            put_failure(b, tools[i], all_operations, status);
        }
        pb_temporary_remove(folder);
        pb_memory_free(folder);
    }
    return PB_OK;
}
