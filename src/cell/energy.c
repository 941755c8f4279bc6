// SPDX-License-Identifier: Apache-2.0
/* The energy of a cell, by component. Each has one counter for all members of a gang: what they
 * used in training is shared out as its time is, and a reason why nothing is known counts for all.
 *
 * The counters of the processors, their memory and the node count what every process of the node
 * uses. Each process takes an equal share, so that the cells of a sweep never have more together
 * than the node used; that share is modelled. */
#include "running.h"

#include "pb/clock.h"
#include "pb/log.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

/* Counters that start again are read this often, in seconds. */
static const double READ_SECONDS = 10.0;

/* The first reason is kept. */
static void lose(running *lead, energy_component c, const char *why)
{
    if (lead->energy_lost[c][0] == '\0') {
        (void)snprintf(lead->energy_lost[c], sizeof lead->energy_lost[c], "%s", why);
    }
}

/* A counter that was lost once is not read again: it may come back at another value. */
static double read_device(running *lead)
{
    const char *why = "";
    double before   = lead->energy_seen;
    if (lead->env->shares_device) {
        lose(lead, ENERGY_DEVICE, "several processes use the device, which has one counter");
    }
    if (lead->energy_lost[ENERGY_DEVICE][0] != '\0') {
        return 0.0;
    }
    double now = pb_backend_energy(lead->env->backend, &why);
    if (isnan(now)) {
        lose(lead, ENERGY_DEVICE, why);
    } else if (now < before) {
        lose(lead, ENERGY_DEVICE, "the counter went backwards");
    }
    lead->energy_seen = now;
    return lead->energy_lost[ENERGY_DEVICE][0] == '\0' ? now - before : 0.0;
}

/* This process's share. */
static double read_node(running *lead, energy_component c, bool counts)
{
    const char *why = "";
    int processes   = pb_comm_node_size(lead->env->comm);
    double joules   = pb_energy_read(lead->env->energy, (pb_energy_part)(c - ENERGY_PACKAGE), &why);
    if (isnan(joules) && counts) {
        lose(lead, c, why);
    }
    lead->energy_processes =
        processes > lead->energy_processes ? processes : lead->energy_processes;
    return isnan(joules) ? 0.0 : joules / processes;
}

static void read_nodes(running *lead, bool counts, energies *into)
{
    lead->energy_read = pb_clock_seconds();
    for (int c = ENERGY_PACKAGE; c < ENERGY_COMPONENTS; c++) {
        into->joules[c] += read_node(lead, (energy_component)c, counts);
    }
}

void running_energy(running *r, energies *into)
{
    running *lead = r->gang;
    into->joules[ENERGY_DEVICE] += read_device(lead);
    read_nodes(lead, true, &lead->energy_pending);
    for (int c = ENERGY_PACKAGE; c < ENERGY_COMPONENTS; c++) {
        into->joules[c] += lead->energy_pending.joules[c];
    }
    lead->energy_pending = (energies){0};
}

void running_energy_begin(running *r)
{
    energies before = {0};
    (void)read_device(r->gang);
    read_nodes(r->gang, false, &before);
    r->gang->energy_pending = (energies){0};
}

void running_energy_keep(running *r)
{
    if (pb_clock_seconds() - r->gang->energy_read >= READ_SECONDS) {
        read_nodes(r->gang, true, &r->gang->energy_pending);
    }
}

void running_energy_of_steps(running *r)
{
    running_energy(r, &r->gang->energy_steps);
}

/* Of the steps of a gang, by its part of their time. */
double running_energy_share(const running *r)
{
    double all = 0.0;
    for (int64_t i = 0; i < r->gang_size; i++) {
        all += r->gang[i].trained.seconds_steps;
    }
    return r->gang_size == 1 ? 1.0 : all > 0.0 ? r->trained.seconds_steps / all : 0.0;
}

/* "absent: why", "measured" or "modelled: how". */
static pb_status describe(const running *r, energy_component c, pb_string *out)
{
    const char *why   = r->gang->energy_lost[c];
    int64_t processes = r->gang->energy_processes;
    if (*why == '\0' && r->record->status != PB_OK) {
        why = "the cell did not finish";
    }
    if (*why != '\0') {
        return pb_string_printf(out, "absent: %s", why);
    }
    if (c == ENERGY_DEVICE) {
        return pb_string_puts(out, "measured");
    }
    const char *source = pb_energy_source(r->env->energy, (pb_energy_part)(c - ENERGY_PACKAGE));
    if (processes > 1) {
        return pb_string_printf(out,
                                "modelled: 1/%" PRId64 " of what %s counts, the share of each "
                                "process of the node",
                                processes, source);
    }
    return pb_string_printf(out, "measured: %s", source);
}

/* The numbers of the record: in all, of training, validation, test. */
typedef struct numbers {
    double *all, *train, *validation, *test;
} numbers;

static numbers numbers_of(pb_record *r, energy_component c)
{
#define NUMBERS(name)                                                                      \
    {                                                                                      \
        &r->energy_##name##j, &r->energy_##name##train_j, &r->energy_##name##validation_j, \
            &r->energy_##name##test_j                                                      \
    }
    const numbers of[ENERGY_COMPONENTS] = {[ENERGY_DEVICE]  = NUMBERS(),
                                           [ENERGY_PACKAGE] = NUMBERS(package_),
                                           [ENERGY_DRAM]    = NUMBERS(dram_),
                                           [ENERGY_NODE]    = NUMBERS(node_)};
#undef NUMBERS
    return of[c];
}

static pb_status record_component(running *r, energy_component c, const char *name)
{
    numbers to     = numbers_of(r->record, c);
    pb_string text = {0};
    pb_status status;
    PB_TRY_GOTO(status, describe(r, c, &text), done);
    PB_TRY_GOTO(status, pb_record_add_provenance(r->record, name, text.data), done);
    if (!pb_string_begins(text.data, "absent")) {
        *to.train      = r->gang->energy_steps.joules[c] * running_energy_share(r);
        *to.validation = r->energy_validation.joules[c];
        *to.test       = r->energy_test.joules[c];
        *to.all        = r->energy_setup.joules[c] + *to.train + *to.validation + *to.test;
    }
done:
    pb_string_clear(&text);
    return status;
}

pb_status running_record_energy(running *r)
{
    static const char *const names[ENERGY_COMPONENTS] = {"energy", "energy_package", "energy_dram",
                                                         "energy_node"};
    for (int c = 0; c < ENERGY_COMPONENTS; c++) {
        PB_TRY(record_component(r, (energy_component)c, names[c]));
    }
    return PB_OK;
}
