// SPDX-License-Identifier: Apache-2.0
/* Records on their way into results. */
#pragma once

#include "axes.h"

/* Takes the record over, also on failure. */
pb_status results_take(pb_results *results, pb_record *record) PB_MUST_USE;
/* A cell that is in several files counts once, provided they agree on its configuration. */
pb_status results_drop_repeated(pb_results *results) PB_MUST_USE;
