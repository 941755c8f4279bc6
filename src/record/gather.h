// SPDX-License-Identifier: Apache-2.0
/* Records on their way into results. */
#pragma once

#include "axes.h"

/* Takes the record over, also on failure. */
pb_status results_take(pb_results *results, pb_record *record) PB_MUST_USE;
/* Stores the texts and the provenance of a shallow record once for all records of the results. On
 * failure the record can only be cleared. */
pb_status results_share(pb_results *results, pb_record *record) PB_MUST_USE;
void results_texts_clear(pb_results *results); /* of all records, which must have been cleared */
/* A cell that is in several files counts once, provided they agree on its configuration. */
pb_status results_drop_repeated(pb_results *results) PB_MUST_USE;
