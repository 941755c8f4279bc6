// SPDX-License-Identifier: Apache-2.0
/* What the metrics use to fill in a result. */
#include "metrics.h"

#include "pb/memory.h"
#include "pb/string.h"

#include <inttypes.h>
#include <stdio.h>

void pb_metric_result_clear(pb_metric_result *result)
{
    pb_memory_free_texts(result->predictions, (size_t)result->rows);
    pb_memory_free_texts(result->references, (size_t)result->rows);
    pb_memory_free(result->values);
    pb_memory_free(result->row_values);
    pb_memory_free(result->correct);
    pb_memory_free(result->invalid);
    *result = (pb_metric_result){0};
}

pb_status metric_add(pb_metric_result *result, const char *name, double value, bool is_count)
{
    PB_TRY(PB_GROW(result->values, result->count + 1));
    pb_metric_value *v = &result->values[result->count++];
    *v                 = (pb_metric_value){.value = value, .is_count = is_count};
    (void)snprintf(v->name, sizeof v->name, "%s", name);
    return PB_OK;
}

int64_t metric_count(const bool *flags, int64_t rows)
{
    int64_t count = 0;

    for (int64_t i = 0; i < rows; i++) {
        count += flags[i];
    }
    return count;
}

pb_status metric_add_flags(pb_metric_result *result, const char *name, const bool *flags)
{
    return metric_add(result, name, (double)metric_count(flags, result->rows), true);
}

void metric_set_share(pb_metric_result *result, const char *name)
{
    result->main      = (double)metric_count(result->correct, result->rows) / (double)result->rows;
    result->main_name = name;
}

pb_status metric_no_answer(void)
{
    return PB_FAIL(PB_ERR_FORMAT,
                   "the row has no right answer; leave such rows out of the test file");
}

pb_status metric_at_row(const pb_metric_input *input, int64_t row, pb_status status)
{
    return input->lines != NULL
               ? pb_error_prefix(status, "%s:%" PRId64, input->file, input->lines[row])
               : pb_error_prefix(status, "row %" PRId64, row);
}
