// SPDX-License-Identifier: Apache-2.0
/* The groups /grid and /pscp of a merged file. */
#pragma once

#include "hdf.h"

#include "pb/results.h"

pb_status grid_write(hid_t file, const pb_results *results,
                     const pb_results_settings *settings) PB_MUST_USE;
pb_status pscp_write(hid_t file, const pb_results *results,
                     const pb_results_pscp *pscp) PB_MUST_USE;
