// SPDX-License-Identifier: Apache-2.0
/* The command line, and the processes of the parts. */
#include "bench_gpu.h"

#include "pb/clock.h"
#include "pb/device.h"

#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { EXIT_PROBLEM = 1, EXIT_UNABLE = 2, LINE = 8192, GRACE = 5 };

/* In the order of the table, not in that of a run. */
static const bench_part parts[] = {
    {"device", 20, part_device},
    {"operations", 90, part_operations},
    {"bits", 60, part_bits},
    {"curves", 90, part_curves},
    {"sanitizer", 90, part_sanitizer},
    {"products", 40, part_products},
    {"kernels", 40, part_kernels},
    {"step", 90, part_step},
    {"short rows", 80, part_short_rows},
    {"decoding", 60, part_decoding},
    {"peer", 150, part_peer},
};

enum { PARTS = sizeof parts / sizeof *parts };

const bench_part *bench_part_at(int number)
{
    return &parts[number - 1];
}

int bench_part_count(void)
{
    return PARTS;
}

typedef struct mode {
    const char *name;
    int parts[PARTS + 1];
} mode;

static const mode modes[] = {
    {"check", {1, 3, 2, 4, 5}},
    {"speed", {1, 8, 6, 7, 9, 10}},
    {"peer", {11}},
};

static const char usage[] =
    "usage: bench_gpu [check|speed|peer] [options]\n"
    "\n"
    "Proves and measures the CUDA backend on a device, in parts that have their own processes and\n"
    "time limits. Without a mode: check, then speed. No checkpoint is needed.\n"
    "\n"
    "  check   the device; bits; operations and training curves against the CPU;\n"
    "          compute-sanitizer where it is installed (5 minutes)\n"
    "  speed   the device; an 8B training step; products; kernels; short rows; decoding (5 "
    "minutes)\n"
    "  peer    Hugging Face PEFT on the same shape and rows (3 minutes)\n"
    "\n"
    "  --device D     cuda, cuda:N, or cpu (default: cuda)\n"
    "  --parts N,…    these parts alone: 1 device, 2 operations, 3 bits, 4 curves, 5 sanitizer,\n"
    "                 6 products, 7 kernels, 8 step, 9 short rows, 10 decoding, 11 peer\n"
    "  --golden DIR   for curves: a checkpoint, or a folder of checkpoints\n"
    "  --json FILE    results, a JSON object per line (default: bench_gpu.jsonl)\n"
    "  --limit F      the time limits times F (default: 1)\n"
    "  --python P     for peer: an interpreter with torch and peft (default: $PB_PYTHON, python3)\n"
    "  --peer FILE    for peer: its script (default: bench_peer.py beside this program)\n"
    "  --tiny         tiny sizes, to try the program\n"
    "\n"
    "Exit code: 0 all well; 1 a result is \"no\" or a part failed; 2 nothing could be started.\n";

typedef struct options {
    bench b;
    const char *parts, *json;
    double limit;
    const char *mode;
    int only; /* internal: this process is a part; 0: it is not */
} options;

static int refuse(const char *what, const char *value)
{
    fprintf(stderr, "bench_gpu: %s%s; --help shows the usage\n", what, value);
    return EXIT_UNABLE;
}

static int read_options(int argc, char **argv, options *o)
{
    static const struct option known[] = {
        {"device", required_argument, NULL, 'd'},
        {"parts", required_argument, NULL, 'n'},
        {"golden", required_argument, NULL, 'g'},
        {"json", required_argument, NULL, 'j'},
        {"limit", required_argument, NULL, 'l'},
        {"python", required_argument, NULL, 'p'},
        {"peer", required_argument, NULL, 's'},
        {"tiny", no_argument, NULL, 't'},
        {"help", no_argument, NULL, 'h'},
        {"one-part", required_argument, NULL, 'o'},
        {NULL, 0, NULL, 0},
    };
    for (int c = 0; (c = getopt_long(argc, argv, "h", known, NULL)) >= 0;) {
        switch (c) {
        case 'd':
            o->b.device = optarg;
            break;
        case 'n':
            o->parts = optarg;
            break;
        case 'g':
            o->b.golden = optarg;
            break;
        case 'j':
            o->json = optarg;
            break;
        case 'l':
            o->limit = strtod(optarg, NULL);
            break;
        case 'p':
            o->b.python = optarg;
            break;
        case 's':
            o->b.peer = optarg;
            break;
        case 't':
            o->b.tiny = true;
            break;
        case 'o':
            o->only = (int)strtol(optarg, NULL, 10);
            break;
        case 'h':
            fputs(usage, stdout);
            exit(0);
        default:
            return EXIT_UNABLE;
        }
    }
    o->mode = optind < argc ? argv[optind++] : "";
    if (optind < argc) {
        return refuse("unexpected argument ", argv[optind]);
    }
    if (!(o->limit > 0.0 && o->limit <= 1000.0)) {
        return refuse("--limit needs a number above 0, at most 1000", "");
    }
    if (o->only < 0 || o->only > PARTS) {
        return refuse("there is no such part", "");
    }
    return 0;
}

/* The parts to run, in order; returns how many, or -1. */
static int choose(const options *o, int chosen[PARTS + 1])
{
    int count = 0;
    if (o->parts != NULL) {
        for (const char *at = o->parts; *at != '\0'; at++) {
            char *end   = NULL;
            long number = strtol(at, &end, 10);
            if (end == at || number < 1 || number > PARTS || (*end != ',' && *end != '\0') ||
                count == PARTS) {
                return -1;
            }
            chosen[count++] = (int)number;
            at              = *end == '\0' ? end - 1 : end;
        }
        return count;
    }
    bool seen[PARTS + 1] = {false};
    bool both            = *o->mode == '\0';
    for (size_t m = 0; m < sizeof modes / sizeof *modes - (both ? 1 : 0); m++) {
        for (const int *p = modes[m].parts; *p != 0; p++) {
            if ((both || strcmp(o->mode, modes[m].name) == 0) && !seen[*p]) {
                seen[*p]        = true;
                chosen[count++] = *p;
            }
        }
    }
    return count > 0 ? count : -1;
}

/* A part's own process ------------------------------------------------------------------------ */

static int run_part(options *o)
{
    bench *b   = &o->b;
    b->part    = o->only;
    b->end     = pb_clock_seconds() + o->limit * parts[b->part - 1].seconds;
    int length = 0;
    static char command[BENCH_TEXT * 2];
    length = snprintf(command, sizeof command, "bench_gpu --parts %d --device %s%s", b->part,
                      b->device, b->tiny ? " --tiny" : "");
    if (b->golden != NULL && length > 0 && (size_t)length < sizeof command) {
        (void)snprintf(command + length, sizeof command - (size_t)length, " --golden %s",
                       b->golden);
    }
    b->command       = command;
    pb_status status = parts[b->part - 1].run(b);
    if (status != PB_OK) {
        put_failure(b, parts[b->part - 1].name, "", status);
    }
    return 0;
}

/* All parts ----------------------------------------------------------------------------------- */

static pid_t start_part(const options *o, int part, int *out)
{
    char number[16];
    char limit[32];
    int ends[2];
    if (pipe(ends) != 0) {
        return -1;
    }
    pid_t child = fork();
    if (child != 0) {
        close(ends[1]);
        *out = ends[0];
        return child;
    }
    (void)snprintf(number, sizeof number, "%d", part);
    (void)snprintf(limit, sizeof limit, "%g", o->limit);
    const char *arguments[20] = {o->b.program, "--one-part", number, "--device",
                                 o->b.device,  "--limit",    limit};
    int count                 = 7;
    const char *pairs[][2]    = {
           {"--golden", o->b.golden}, {"--python", o->b.python}, {"--peer", o->b.peer}};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        if (pairs[i][1] != NULL) {
            arguments[count++] = pairs[i][0];
            arguments[count++] = pairs[i][1];
        }
    }
    if (o->b.tiny) {
        arguments[count++] = "--tiny";
    }
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* nobody would read on */
    dup2(ends[1], STDOUT_FILENO);
    close(ends[0]);
    close(ends[1]);
    execv("/proc/self/exe", (char *const *)(void *)arguments);
    fprintf(stderr, "bench_gpu: the part cannot be started: %s\n", strerror(errno));
    _exit(127);
}

typedef struct reading {
    char line[LINE];
    size_t used;
} reading;

/* Whole lines of what a read brought. */
static void take_lines(report *r, reading *in)
{
    for (char *end = NULL; (end = memchr(in->line, '\n', in->used)) != NULL;) {
        char text[LINE + 1];
        size_t length = (size_t)(end - in->line) + 1;
        memcpy(text, in->line, length);
        text[length] = '\0';
        report_line(r, text);
        in->used -= length;
        memmove(in->line, end + 1, in->used);
    }
    in->used = in->used == sizeof in->line ? 0 : in->used;
}

/* Reads until the part ends; false when it had to be ended. */
static bool read_part(report *r, int from, double end)
{
    static reading in;
    in.used = 0;
    for (;;) {
        double left        = end - pb_clock_seconds();
        struct pollfd wait = {.fd = from, .events = POLLIN};
        if (left <= 0.0) {
            return false;
        }
        if (poll(&wait, 1, (int)(1000.0 * left) + 1) <= 0) {
            continue;
        }
        ssize_t got = read(from, in.line + in.used, sizeof in.line - in.used);
        if (got <= 0) {
            return true;
        }
        in.used += (size_t)got;
        take_lines(r, &in);
    }
}

static void run_one(options *o, report *r, int part)
{
    int from              = -1;
    int state             = 0;
    double limit          = o->limit * parts[part - 1].seconds + GRACE;
    double start          = pb_clock_seconds();
    char note[BENCH_TEXT] = "";
    o->b.part             = part;
    pid_t child           = start_part(o, part, &from);
    bool ended            = child > 0 && read_part(r, from, start + limit);
    if (child > 0 && !ended) {
        kill(-child, SIGKILL);
        (void)snprintf(note, sizeof note, "ended after %.0f s, its limit", limit);
    }
    if (child > 0) {
        waitpid(child, &state, 0);
        close(from);
    }
    if (child <= 0) {
        (void)snprintf(note, sizeof note, "no process: %s", strerror(errno));
    } else if (ended && WIFSIGNALED(state)) {
        (void)snprintf(note, sizeof note, "ended by signal %d, %s", WTERMSIG(state),
                       strsignal(WTERMSIG(state)));
    } else if (ended && WEXITSTATUS(state) != 0) {
        (void)snprintf(note, sizeof note, "ended with exit code %d", WEXITSTATUS(state));
    }
    char line[BENCH_TEXT * 2];
    if (*note != '\0') {
        (void)snprintf(line, sizeof line,
                       "{\"part\": %d, \"name\": \"%s\", \"what\": \"whole part\", \"result\": "
                       "\"failed\", \"note\": \"%s\"}\n",
                       part, parts[part - 1].name, note);
        report_line(r, line);
        return;
    }
    (void)snprintf(line, sizeof line,
                   "{\"part\": %d, \"name\": \"%s\", \"what\": \"whole part\", \"value\": %.1f, "
                   "\"unit\": \"s\"}\n",
                   part, parts[part - 1].name, pb_clock_seconds() - start);
    report_line(r, line);
}

/* 0 where the device opens, in a process of its own: this one holds none of its memory. */
static int try_device(const bench *b)
{
    int state   = 0;
    pid_t child = fork();
    if (child == 0) {
        pb_backend *be   = NULL;
        pb_status status = pb_backend_open(b->backend, b->number, 0, &be);
        if (status != PB_OK) {
            fprintf(stderr, "bench_gpu: %s\n", pb_error_message());
        }
        pb_backend_close(be);
        _exit(status == PB_OK ? 0 : EXIT_UNABLE);
    }
    if (child < 0 || waitpid(child, &state, 0) != child) {
        return refuse("no process: ", strerror(errno));
    }
    return WIFEXITED(state) ? WEXITSTATUS(state)
                            : refuse("opening the device ended by a signal", "");
}

static int run_all(options *o)
{
    int chosen[PARTS + 1];
    int count = choose(o, chosen);
    if (count < 0) {
        return o->parts != NULL ? refuse("no list of parts: ", o->parts)
                                : refuse("unknown mode ", o->mode);
    }
    int unable = try_device(&o->b);
    if (unable != 0) {
        return unable;
    }
    report *r = report_open(o->json);
    if (r == NULL) {
        return refuse("this file cannot be written: ", o->json);
    }
    for (int i = 0; i < count; i++) {
        run_one(o, r, chosen[i]);
    }
    report_table(r);
    int problems = report_problems(r);
    report_close(r);
    return problems > 0 ? EXIT_PROBLEM : 0;
}

int main(int argc, char **argv)
{
    options o = {.b     = {.program = argv[0], .device = "cuda", .python = getenv("PB_PYTHON")},
                 .json  = "bench_gpu.jsonl",
                 .limit = 1.0};
    int code  = read_options(argc, argv, &o);
    if (code != 0) {
        return code;
    }
    if (pb_device_parse(o.b.device, 0, &o.b.backend, &o.b.number) != PB_OK) {
        fprintf(stderr, "bench_gpu: %s\n", pb_error_message());
        return EXIT_UNABLE;
    }
    return o.only > 0 ? run_part(&o) : run_all(&o);
}
