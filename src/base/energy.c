// SPDX-License-Identifier: Apache-2.0
/* Reads the counters of RAPL and of Cray's pm_counters. Files below /sys have a line of text:
 *
 *   class/powercap/intel-rapl:0/name                 package-0
 *   class/powercap/intel-rapl:0/energy_uj            microjoules, below max_energy_range_uj
 *   class/powercap/intel-rapl:0:0/name               dram
 *   cray/pm_counters/energy                          12345 J 1700000000 us */
#include "pb/energy.h"

#include "pb/clock.h"
#include "pb/file.h"
#include "pb/log.h"
#include "pb/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *const pb_energy_part_names[] = {"package", "dram", "node", NULL};

/* A file of /sys claims to be as large as a page. */
enum { LINE_BYTES = 1 << 16, WHY = 128, ZONE_BYTES = 4096 };

/* More than a package draws: how long a counter may be left alone follows from it. */
static const double WATTS_MOST = 600.0;

/* A reading beyond this is none. */
static const double JOULES_MOST = 1e15;

typedef struct counter {
    char *path;
    double unit;  /* joules */
    double range; /* joules at which it starts again; 0: it does not */
    double seen;  /* joules */
    double when;  /* clock */
} counter;

typedef struct energy_part {
    counter *items;
    int64_t count;
    char source[32];
    char why[WHY]; /* there are no counters; or the last reading failed */
} energy_part;

struct pb_energy {
    char *root;
    energy_part parts[PB_ENERGY_PARTS];
};

/* ---------------------------------------------------------------- files */

/* The first line of a file. */
static pb_status read_line(const char *path, pb_string *out)
{
    PB_TRY(pb_file_read(path, LINE_BYTES, out));
    if (out->data == NULL) {
        return pb_string_puts(out, "");
    }
    out->data[strcspn(out->data, "\n")] = '\0';
    return PB_OK;
}

/* The whole number that a file begins with, alone or before " J". */
static pb_status read_number(const char *path, double unit, double *joules)
{
    pb_string text = {0};
    PB_TRY(read_line(path, &text));
    char *end   = text.data;
    errno       = 0;
    bool digits = *text.data >= '0' && *text.data <= '9';
    *joules     = digits ? (double)strtoull(text.data, &end, 10) * unit : 0.0;
    bool whole  = digits && errno == 0 && (*end == '\0' || pb_string_begins(end, " J"));
    pb_string_clear(&text);
    return whole && *joules <= JOULES_MOST
               ? PB_OK
               : PB_FAIL(PB_ERR_FORMAT, "%s holds no number of joules", path);
}

/* Files that only root may read are normal; anything else is reported. */
static void fail(energy_part *part, const char *path)
{
    bool refused = faccessat(AT_FDCWD, path, R_OK, AT_EACCESS) != 0 && errno == EACCES;
    (void)snprintf(part->why, sizeof part->why, "%s",
                   refused ? "only root may read the counters, as in Linux since 2020"
                           : pb_error_message());
    if (!refused) {
        pb_log0_warn("energy is not measured: %s", pb_error_message());
    }
    pb_error_clear();
}

/* ---------------------------------------------------------------- finding counters */

static void forget(energy_part *part)
{
    for (int64_t i = 0; i < part->count; i++) {
        pb_memory_free(part->items[i].path);
    }
    pb_memory_free(part->items);
    part->items = NULL;
    part->count = 0;
}

/* A part is the sum of its counters: without one of them it is not known. */
static pb_status refuse(energy_part *part, const char *path, pb_status status)
{
    if (status == PB_ERR_MEMORY) {
        return PB_FRAME(status);
    }
    fail(part, path);
    forget(part);
    return PB_OK;
}

static pb_status add(energy_part *part, const char *path, double unit, double range)
{
    counter c = {.unit = unit, .range = range, .when = pb_clock_seconds()};
    if (part->why[0] != '\0') {
        return PB_OK;
    }
    pb_status status = read_number(path, unit, &c.seen);
    if (status == PB_OK && range > 0.0 && c.seen > range) {
        status = PB_FAIL(PB_ERR_FORMAT, "%s is beyond its range", path);
    }
    if (status != PB_OK) {
        return refuse(part, path, status);
    }
    PB_TRY(PB_GROW(part->items, part->count + 1));
    PB_TRY(PB_TEXT(c.path, path));
    part->items[part->count++] = c;
    return PB_OK;
}

/* Packages are called "package-0" or, by their dies, "package-0-die-1". */
static energy_part *part_of(pb_energy *e, const char *zone)
{
    return pb_string_begins(zone, "package-") ? &e->parts[PB_ENERGY_PACKAGE]
           : strcmp(zone, "dram") == 0        ? &e->parts[PB_ENERGY_DRAM]
                                              : NULL;
}

static pb_status add_zone(pb_energy *e, const char *folder)
{
    char name[ZONE_BYTES], energy[ZONE_BYTES], limit[ZONE_BYTES];
    pb_string zone = {0};
    double range   = 0.0;
    (void)snprintf(name, sizeof name, "%s/name", folder);
    (void)snprintf(energy, sizeof energy, "%s/energy_uj", folder);
    (void)snprintf(limit, sizeof limit, "%s/max_energy_range_uj", folder);
    pb_status status  = read_line(name, &zone);
    energy_part *part = status == PB_OK ? part_of(e, zone.data) : NULL;
    pb_string_clear(&zone);
    if (status != PB_OK) {
        return refuse(&e->parts[PB_ENERGY_PACKAGE], name, status); /* it may be one */
    }
    if (part == NULL) {
        return PB_OK;
    }
    status = read_number(limit, 1e-6, &range);
    if (status == PB_OK && range <= 0.0) {
        status = PB_FAIL(PB_ERR_FORMAT, "%s is 0", limit);
    }
    if (status != PB_OK) {
        return refuse(part, limit, status);
    }
    return add(part, energy, 1e-6, range);
}

/* The zones of powercap. Those of "intel-rapl-mmio" count the same joules again. */
static pb_status take_zone(void *context, const char *path, const char *name)
{
    return pb_string_begins(name, "intel-rapl:") ? add_zone(context, path) : PB_OK;
}

static pb_status find_rapl(pb_energy *e)
{
    char *folder = NULL;
    PB_TRY(pb_path_join(e->root, "class/powercap", &folder));
    pb_status status =
        pb_path_is_directory(folder) ? pb_path_each(folder, NULL, take_zone, e) : PB_OK;
    pb_memory_free(folder);
    if (status != PB_OK && status != PB_ERR_MEMORY) {
        pb_log0_warn("energy is not measured: %s", pb_error_message());
        pb_error_clear();
        status = PB_OK;
    }
    return status;
}

/* Where RAPL has the part, or refuses it, Cray's own counter may do. */
static pb_status find_cray(pb_energy *e, pb_energy_part which, const char *name)
{
    energy_part *part = &e->parts[which];
    char *path        = NULL;
    pb_status status  = PB_OK;
    if (part->count > 0) {
        return PB_OK;
    }
    PB_TRY(pb_path_join(e->root, name, &path));
    if (pb_path_exists(path)) {
        part->why[0] = '\0';
        status       = add(part, path, 1.0, 0.0);
        (void)snprintf(part->source, sizeof part->source, "Cray pm_counters");
    }
    pb_memory_free(path);
    return status;
}

static pb_status find_all(pb_energy *e)
{
    const char *given = getenv("PB_SYS");
    PB_TRY(PB_TEXT(e->root, given != NULL && *given != '\0' ? given : "/sys"));
    PB_TRY(find_rapl(e));
    for (int i = 0; i < PB_ENERGY_NODE; i++) {
        (void)snprintf(e->parts[i].source, sizeof e->parts[i].source, "RAPL");
    }
    PB_TRY(find_cray(e, PB_ENERGY_PACKAGE, "cray/pm_counters/cpu_energy"));
    PB_TRY(find_cray(e, PB_ENERGY_DRAM, "cray/pm_counters/memory_energy"));
    PB_TRY(find_cray(e, PB_ENERGY_NODE, "cray/pm_counters/energy"));
    for (int i = 0; i < PB_ENERGY_PARTS; i++) {
        energy_part *part = &e->parts[i];
        if (part->count == 0 && part->why[0] == '\0') {
            (void)snprintf(part->why, sizeof part->why, "the system has no such counter");
        }
    }
    return PB_OK;
}

pb_status pb_energy_open(pb_energy **out)
{
    pb_energy *e = NULL;
    PB_TRY(PB_ALLOC(e, 1));
    pb_status status = find_all(e);
    if (status != PB_OK) {
        pb_energy_close(e);
        return PB_FRAME(status);
    }
    *out = e;
    return PB_OK;
}

void pb_energy_close(pb_energy *e)
{
    if (e != NULL) {
        for (int i = 0; i < PB_ENERGY_PARTS; i++) {
            forget(&e->parts[i]);
        }
        pb_memory_free(e->root);
        pb_memory_free(e);
    }
}

/* ---------------------------------------------------------------- reading */

/* Joules since the last reading. Whatever is wrong with them, the next reading begins here. */
static double advance(energy_part *part, counter *c)
{
    double now      = 0.0;
    double time     = pb_clock_seconds();
    double unread   = time - c->when;
    pb_status found = read_number(c->path, c->unit, &now);
    if (found != PB_OK) {
        fail(part, c->path);
        return NAN;
    }
    double used = now - c->seen + (now < c->seen ? c->range : 0.0);
    c->seen     = now;
    c->when     = time;
    if (used < 0.0) {
        (void)snprintf(part->why, sizeof part->why, "the counter went backwards");
    } else if (c->range > 0.0 && unread * WATTS_MOST > c->range) {
        (void)snprintf(part->why, sizeof part->why,
                       "for %.0f s the counter was not read, and may have started again", unread);
    }
    return part->why[0] == '\0' ? used : NAN;
}

double pb_energy_read(pb_energy *e, pb_energy_part which, const char **why)
{
    energy_part *part = &e->parts[which];
    double sum        = 0.0;
    *why              = part->why;
    if (part->count == 0) {
        return NAN;
    }
    part->why[0] = '\0';
    for (int64_t i = 0; i < part->count; i++) {
        sum += advance(part, &part->items[i]);
    }
    return sum;
}

const char *pb_energy_source(const pb_energy *e, pb_energy_part which)
{
    return e->parts[which].count > 0 ? e->parts[which].source : "";
}
