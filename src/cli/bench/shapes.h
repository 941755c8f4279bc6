// SPDX-License-Identifier: Apache-2.0
/* Shapes of models for the benchmark: no checkpoint is needed. */
#pragma once

#include "pb/model.h"

/* The configuration of a named shape ("40m"), or of sizes as in "layers=8,width=512", which replace
 * those of the shape 40m. PB_ERR_USAGE names the invalid part. */
pb_status bench_shape(const char *text, pb_model_config *config) PB_MUST_USE;
