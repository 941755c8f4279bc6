// SPDX-License-Identifier: Apache-2.0
/* The command line: which parts are run, and in what order. */
#include "bench_gpu.h"

#include "pb/clock.h"
#include "pb/device.h"
#include "pb/log.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The limits of `check` and of `speed` add up to five minutes each at most. */
static const bench_part parts[] = {
    {"device", 20, 15, part_device},
    {"operations", 90, 15, part_operations},
    {"bits", 40, 15, part_bits},
    {"curves", 60, 15, part_curves},
    {"sanitizer", 90, 40, part_sanitizer},
    {"products", 40, 15, part_products},
    {"kernels", 40, 15, part_kernels},
    {"step", 60, 35, part_step},
    {"short rows", 80, 30, part_short_rows},
    {"decoding", 40, 30, part_decoding},
    {"peer", 120, 120, part_peer},
};

enum { PARTS = sizeof parts / sizeof *parts };

const bench_part *bench_part_at(int number)
{
    return &parts[number - 1];
}

typedef struct mode {
    const char *name;
    int parts[PARTS + 1];
} mode;

static const mode modes[] = {
    {"check", {1, 2, 4, 3, 5}},
    {"speed", {1, 8, 6, 7, 9, 10}},
    {"peer", {11}},
};

static const char usage[] =
    "usage: bench_gpu [check|speed|peer] [options]\n"
    "\n"
    "Proves and measures the CUDA backend on a device, in parts that have their own processes and\n"
    "time limits. Without a mode: check, then speed. No checkpoint is needed.\n"
    "\n"
    "  check   the device; operations and training curves against the CPU; bits;\n"
    "          compute-sanitizer where it is installed (at most 5 minutes)\n"
    "  speed   the device; an 8B training step; products; kernels; short rows; decoding (at most\n"
    "          5 minutes)\n"
    "  peer    Hugging Face PEFT on the same shapes and rows (at most 2 minutes)\n"
    "\n"
    "  --device D     cuda, cuda:N, or cpu (default: cuda)\n"
    "  --parts N,…    these parts alone, in this order\n"
    "  --list         prints the parts and their limits\n"
    "  --golden DIR   for curves: a checkpoint, or a folder of checkpoints\n"
    "  --json FILE    appended to, one JSON object per line (default: bench_gpu.jsonl)\n"
    "  --limit F      the time limits times F (default: 1)\n"
    "  --python P     for peer: an interpreter with torch and peft (default: $PB_PYTHON, python3)\n"
    "  --peer FILE    for peer: its script (default: bench_peer.py beside this program)\n"
    "  --tiny         tiny sizes, to try the program: its rates then mean nothing\n"
    "\n"
    "Exit code: 0 all well; 1 a result is \"no\" or a part failed; 2 nothing could be started: no\n"
    "driver, no device, or a mistake in the command.\n";

typedef struct options {
    bench b;
    const char *parts, *json;
    double limit;
    const char *mode;
    bool list;
    int only;       /* internal: this process is a part; 0: it is not */
    double seconds; /* internal: until when it begins items */
    char command[2 * BENCH_TEXT];
} options;

static int refuse(const char *what, const char *value)
{
    fprintf(stderr, "bench_gpu: %s%s; --help shows the usage\n", what, value);
    return EXIT_UNABLE;
}

static int read_options(int argc, char **argv, options *o)
{
    static const struct option known[] = {
        {"device", required_argument, NULL, 'd'},   {"parts", required_argument, NULL, 'n'},
        {"list", no_argument, NULL, 'i'},           {"golden", required_argument, NULL, 'g'},
        {"json", required_argument, NULL, 'j'},     {"limit", required_argument, NULL, 'l'},
        {"python", required_argument, NULL, 'p'},   {"peer", required_argument, NULL, 's'},
        {"tiny", no_argument, NULL, 't'},           {"help", no_argument, NULL, 'h'},
        {"one-part", required_argument, NULL, 'o'}, {"done", required_argument, NULL, 'f'},
        {"seconds", required_argument, NULL, 'e'},  {NULL, 0, NULL, 0},
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
        case 'i':
            o->list = true;
            break;
        case 'o':
            o->only = (int)strtol(optarg, NULL, 10);
            break;
        case 'f':
            o->b.done = strtoll(optarg, NULL, 10);
            break;
        case 'e':
            o->seconds = strtod(optarg, NULL);
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
        return refuse("no such part", "");
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

/* What repeats the part alone. */
static void describe_command(options *o)
{
    bench *b   = &o->b;
    size_t all = sizeof o->command;
    int length = snprintf(o->command, all, "bench_gpu --parts %d --device %s%s", b->part, b->device,
                          b->tiny ? " --tiny" : "");
    if (b->golden != NULL && length > 0 && (size_t)length < all) {
        (void)snprintf(o->command + length, all - (size_t)length, " --golden %s", b->golden);
    }
    b->command = o->command;
}

/* A process that is a part. */
static int run_part(options *o)
{
    o->b.part = o->only;
    o->b.end  = pb_clock_seconds() + o->seconds;
    describe_command(o);
    const bench_part *part = bench_part_at(o->only);
    pb_status status       = part->run(&o->b);
    if (status != PB_OK) {
        put_failure(&o->b, part->name, "", status);
    }
    return 0;
}

static int run_all(options *o, int argc, char **argv)
{
    int chosen[PARTS + 1];
    int count = choose(o, chosen);
    if (count < 0) {
        return o->parts != NULL ? refuse("no list of parts: ", o->parts)
                                : refuse("unknown mode ", o->mode);
    }
    int unable = process_try_device(&o->b);
    if (unable != 0) {
        return unable;
    }
    report *r = report_open(o->json, argc, argv);
    if (r == NULL) {
        return refuse("this file cannot be written: ", o->json);
    }
    for (int i = 0; i < count; i++) {
        o->b.part = chosen[i];
        describe_command(o);
        process_part(&o->b, o->limit, r);
    }
    report_table(r);
    int problems = report_problems(r);
    report_close(r);
    return problems > 0 ? EXIT_PROBLEM : 0;
}

static int list_parts(void)
{
    for (int i = 1; i <= PARTS; i++) {
        printf("%2d  %-10s  at most %3.0f s  ", i, parts[i - 1].name, parts[i - 1].seconds);
        for (size_t m = 0; m < sizeof modes / sizeof *modes; m++) {
            for (const int *p = modes[m].parts; *p != 0; p++) {
                printf("%s", *p == i ? modes[m].name : "");
                printf("%s", *p == i ? " " : "");
            }
        }
        printf("\n");
    }
    return 0;
}

int main(int argc, char **argv)
{
    options o = {.b       = {.program = argv[0], .device = "cuda", .python = getenv("PB_PYTHON")},
                 .json    = "bench_gpu.jsonl",
                 .limit   = 1.0,
                 .seconds = 1e9};
    int code  = read_options(argc, argv, &o);
    pb_log_setup(PB_LOG_WARN, 0, 1); /* results are printed; the log is for what is wrong */
    if (code != 0) {
        return code;
    }
    if (o.list) {
        return list_parts();
    }
    if (pb_device_parse(o.b.device, 0, &o.b.backend, &o.b.number) != PB_OK) {
        fprintf(stderr, "bench_gpu: %s\n", pb_error_message());
        return EXIT_UNABLE;
    }
    return o.only > 0 ? run_part(&o) : run_all(&o, argc, argv);
}
