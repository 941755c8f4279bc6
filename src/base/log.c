// SPDX-License-Identifier: Apache-2.0
/* The log: each line is composed first and written by one call, so that the lines of ranks and
 * threads do not interleave. Level, rank and size are the only settings; they are set once at
 * start. */
#include "pb/log.h"
#include "pb/string.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LINE_BYTES = 8192, PROGRESS_BYTES = 512 };

static const char *const level_names[] = {"error", "warn", "info", "debug", "trace"};

static atomic_int log_level = PB_LOG_INFO;
static atomic_int log_rank;
static atomic_int log_size = 1;

static pthread_mutex_t output_lock = PTHREAD_MUTEX_INITIALIZER;
static char progress[PROGRESS_BYTES]; /* the line now shown, "" when none; under the lock */

void pb_log_setup(pb_log_level level, int rank, int size)
{
    atomic_store(&log_level, (int)level);
    atomic_store(&log_rank, rank);
    atomic_store(&log_size, size);
}

pb_log_level pb_log_get_level(void)
{
    return (pb_log_level)atomic_load(&log_level);
}

pb_status pb_log_parse_level(const char *text, pb_log_level *level)
{
    for (size_t i = 0; i < sizeof level_names / sizeof level_names[0]; i++) {
        if (strcmp(text, level_names[i]) == 0) {
            *level = (pb_log_level)i;
            return PB_OK;
        }
    }
    return PB_FAIL(PB_ERR_USAGE, "log level \"%s\" is not one of error, warn, info, debug, trace",
                   text);
}

/* Best effort: there is nowhere to report a log that cannot be written. */
static void emit(const char *bytes, size_t length)
{
    while (length > 0) {
        ssize_t written = write(STDERR_FILENO, bytes, length);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written <= 0) {
            return;
        }
        bytes += written;
        length -= (size_t)written;
    }
}

/* The folder that holds the source file: ".../src/train/loop.c" gives "train". */
static int module_of(const char *file, const char **name)
{
    const char *end = strrchr(file, '/');

    if (end == NULL) {
        *name = file;
        return (int)strlen(file);
    }
    const char *start = end;
    while (start > file && start[-1] != '/') {
        start--;
    }
    *name = start;
    return (int)(end - start);
}

/* From the last of its lines, where the cursor is, up to the first. */
static void erase_progress(void)
{
    if (progress[0] == '\0') {
        return;
    }
    emit("\r\033[K", 4);
    for (const char *c = progress; *c != '\0'; c++) {
        if (*c == '\n') {
            emit("\033[A\r\033[K", 7);
        }
    }
    progress[0] = '\0';
}

static void write_line(pb_log_level level, bool marked, const char *file, const char *format,
                       va_list arguments)
{
    char text[LINE_BYTES];
    char line[LINE_BYTES];
    size_t used = 0;

    if (marked) {
        const char *module = "";
        int length         = module_of(file, &module);
        used               = (size_t)snprintf(line, 256, "[%d %.*s] ", atomic_load(&log_rank),
                                length < 64 ? length : 64, module);
    }
    if (level != PB_LOG_INFO) {
        used += (size_t)snprintf(line + used, 32, "%s: ", level_names[level]);
    }
    int length = vsnprintf(text, sizeof text, format, arguments);
    if (length < 0) {
        return;
    }
    /* Leaves room for three dots and the line end. Texts of damaged files may contain control
     * sequences of terminals. */
    bool cut = pb_string_printable(text, line + used, sizeof line - used - 4) > 0;
    used += strlen(line + used);
    if (cut || (size_t)length >= sizeof text) {
        memcpy(line + used, "...", 3);
        used += 3;
    }
    line[used++] = '\n';

    pthread_mutex_lock(&output_lock);
    char shown[PROGRESS_BYTES];
    memcpy(shown, progress, sizeof shown);
    erase_progress();
    emit(line, used);
    memcpy(progress, shown, sizeof shown);
    emit(progress, strlen(progress));
    pthread_mutex_unlock(&output_lock);
}

void pb_log_at(pb_log_level level, bool rank0_only, const char *file, const char *format, ...)
{
    int kept_errno = errno;
    va_list arguments;

    if ((int)level > atomic_load(&log_level) || (rank0_only && atomic_load(&log_rank) != 0)) {
        return;
    }
    va_start(arguments, format);
    write_line(level, !rank0_only && atomic_load(&log_size) > 1, file, format, arguments);
    va_end(arguments);
    errno = kept_errno;
}

/* Keeps the line on one row of the terminal: a wrapped line could not be overwritten. */
static size_t terminal_columns(void)
{
    struct winsize window;

    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &window) == 0 && window.ws_col > 1) {
        return (size_t)window.ws_col - 1;
    }
    return 79;
}

/* Cuts every line of the text to the width of the terminal. */
static void set_progress(const char *text)
{
    size_t columns = terminal_columns();
    size_t used    = 0;

    for (;;) {
        char line[PROGRESS_BYTES] = "";
        size_t length             = strcspn(text, "\n");
        size_t room               = PROGRESS_BYTES - used - 1;
        memcpy(line, text, length < sizeof line ? length : sizeof line - 1);
        (void)pb_string_printable(line, progress + used, columns < room ? columns + 1 : room);
        used += strlen(progress + used);
        text += length;
        if (*text == '\0' || used + 2 >= PROGRESS_BYTES) {
            return;
        }
        progress[used++] = *text++;
    }
}

bool pb_log_on_terminal(void)
{
    int kept_errno = errno;
    bool terminal  = isatty(STDERR_FILENO) == 1;

    errno = kept_errno;
    return terminal;
}

void pb_log_progress(const char *text)
{
    int kept_errno = errno;

    if (atomic_load(&log_rank) != 0 || !pb_log_on_terminal()) {
        return;
    }
    pthread_mutex_lock(&output_lock);
    erase_progress();
    if (text != NULL) {
        set_progress(text);
        emit(progress, strlen(progress));
    }
    pthread_mutex_unlock(&output_lock);
    errno = kept_errno;
}

void pb_log_settle(void)
{
    enum { NAPS = 1000 };
    const struct timespec nap = {.tv_nsec = 1000000};
    struct stat file;

    if (fstat(STDERR_FILENO, &file) != 0 || !S_ISFIFO(file.st_mode)) {
        return;
    }
    for (int i = 0; i < NAPS; i++) {
        int unread = 0;
        if (ioctl(STDERR_FILENO, FIONREAD, &unread) != 0 || unread == 0) {
            return;
        }
        (void)nanosleep(&nap, NULL);
    }
}

void pb_ignore(pb_status status, const char *why)
{
    if (status != PB_OK) {
        PB_FRAME(status); /* the record of another failure is not its message */
        pb_log_warn("%s: %s", why, pb_error_message());
        pb_error_clear();
    }
}
