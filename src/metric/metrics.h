// SPDX-License-Identifier: Apache-2.0
/* The metrics, one file per family; registry.c lists them. */
#pragma once

#include "pb/metric.h"

extern const pb_metric pb_metric_exact_match;
extern const pb_metric pb_metric_accuracy;
extern const pb_metric pb_metric_f1;
extern const pb_metric pb_metric_macro_f1;
extern const pb_metric pb_metric_f1_mcc;
extern const pb_metric pb_metric_pearsonr;
extern const pb_metric pb_metric_gsm8k;
extern const pb_metric pb_metric_svamp;
extern const pb_metric pb_metric_record;
extern const pb_metric pb_metric_codebleu;
