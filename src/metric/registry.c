// SPDX-License-Identifier: Apache-2.0
/* All metrics. A new one is a file, a line in metrics.h and a line here. */
#include "metrics.h"

#include <string.h>

static const pb_metric *const metrics[] = {
    &pb_metric_exact_match,
    &pb_metric_accuracy,
    &pb_metric_f1,
    &pb_metric_macro_f1,
    &pb_metric_f1_mcc,
    &pb_metric_pearsonr,
    &pb_metric_gsm8k,
    &pb_metric_svamp,
    &pb_metric_record,
    &pb_metric_codebleu,
    NULL,
};

const pb_metric *const *pb_metric_registry(void)
{
    return metrics;
}

const pb_metric *pb_metric_find(const char *name)
{
    for (size_t i = 0; metrics[i] != NULL; i++) {
        if (strcmp(metrics[i]->name, name) == 0) {
            return metrics[i];
        }
    }
    return NULL;
}
