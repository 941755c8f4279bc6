// SPDX-License-Identifier: Apache-2.0
/* The counters of energy that the system keeps for this node. They are the node's: a process that
 * reads them sees what all processes have used.
 *
 *   package  processors: RAPL (/sys/class/powercap), else Cray's pm_counters
 *   dram     their memory: the same
 *   node     everything: /sys/cray/pm_counters, which Slurm's acct_gather_energy/pm_counters reads
 *
 * The variable PB_SYS names another folder in place of /sys. */
#pragma once

#include "pb/status.h"

typedef enum pb_energy_part {
    PB_ENERGY_PACKAGE,
    PB_ENERGY_DRAM,
    PB_ENERGY_NODE,
    PB_ENERGY_PARTS
} pb_energy_part;

extern const char *const pb_energy_part_names[]; /* "package", … */

typedef struct pb_energy pb_energy;

/* Finds the counters. That there are none is no error; contents that make no sense are reported
 * once, by a warning. */
pb_status pb_energy_open(pb_energy **out) PB_MUST_USE;
void pb_energy_close(pb_energy *energy); /* accepts NULL */

/* Joules since the last call for this part, or since the counters were opened. NaN where that is
 * not known: *why then says why, in words that stay valid until the next call. A counter of RAPL
 * starts again at 0 every few minutes to hours, so it must be read more often than that. */
double pb_energy_read(pb_energy *energy, pb_energy_part part, const char **why);

/* "RAPL" or "Cray pm_counters"; "" where the part has no counter. */
const char *pb_energy_source(const pb_energy *energy, pb_energy_part part);
