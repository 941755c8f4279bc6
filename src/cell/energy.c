// SPDX-License-Identifier: Apache-2.0
/* The energy of the device during a cell. There is one counter: what a gang used in training is
 * shared out as its time is, and a reason why nothing is known counts for all members. */
#include "running.h"

#include <math.h>
#include <stdio.h>

/* The first reason is kept. */
static void lose(running *lead, const char *why)
{
    if (lead->energy_lost[0] == '\0') {
        (void)snprintf(lead->energy_lost, sizeof lead->energy_lost, "%s", why);
    }
}

/* A counter that was lost once is not read again: it may come back at another value. */
double running_energy(running *r)
{
    running *lead   = r->gang;
    const char *why = "";
    double before   = lead->energy_seen;
    if (r->env->shares_device) {
        lose(lead, "several processes use the device, which has one counter");
    }
    if (lead->energy_lost[0] != '\0') {
        return 0.0;
    }
    double now = pb_backend_energy(r->env->backend, &why);
    if (isnan(now)) {
        lose(lead, why);
    } else if (now < before) {
        lose(lead, "the counter went backwards");
    }
    lead->energy_seen = now;
    return lead->energy_lost[0] == '\0' ? now - before : 0.0;
}

void running_energy_begin(running *r)
{
    (void)running_energy(r);
}

void running_energy_of_steps(running *r)
{
    r->gang->energy_steps += running_energy(r);
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

pb_status running_record_energy(running *r)
{
    pb_record *record = r->record;
    const char *why   = r->gang->energy_lost;
    char text[sizeof r->energy_lost + sizeof "absent: "];
    if (*why == '\0' && record->status != PB_OK) {
        why = "the cell did not finish";
    }
    if (*why != '\0') {
        (void)snprintf(text, sizeof text, "absent: %s", why);
        return pb_record_add_provenance(record, "energy", text);
    }
    record->energy_train_j      = r->gang->energy_steps * running_energy_share(r);
    record->energy_validation_j = r->energy_validation;
    record->energy_test_j       = r->energy_test;
    record->energy_j =
        r->energy_setup + record->energy_train_j + r->energy_validation + r->energy_test;
    return pb_record_add_provenance(record, "energy", "measured");
}
