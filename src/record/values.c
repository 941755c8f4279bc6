// SPDX-License-Identifier: Apache-2.0
/* Single parts of records. The numbers of predictions come without their texts: a report over a
 * large file reads them cell by cell, and texts would be most of the cost. */
#include "cell.h"
#include "source.h"

#include "pb/memory.h"
#include "pb/results.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

void pb_record_values_clear(pb_record_values *values)
{
    pb_memory_free(values->rows);
    pb_memory_free(values->values);
    *values = (pb_record_values){0};
}

static pb_status from_memory(const pb_record *record, pb_record_values *out)
{
    PB_TRY(PB_ALLOC(out->rows, record->predictions_count + 1));
    PB_TRY(PB_ALLOC(out->values, record->predictions_count + 1));
    for (int64_t i = 0; i < record->predictions_count; i++) {
        out->rows[i]   = record->predictions[i].row;
        out->values[i] = record->predictions[i].value;
    }
    out->count = record->predictions_count;
    return PB_OK;
}

static pb_status from_cell(hid_t cell, void *values)
{
    pb_record_values *out = values;
    hid_t group           = -1;
    void *read            = NULL;
    int64_t count         = 0;
    pb_status status      = PB_OK;

    PB_TRY_GOTO(status, hdf_group_open(cell, "predictions", &group), out);
    PB_TRY_GOTO(status, hdf_numbers_read(group, "row", RECORD_I64, &read, &out->count), out);
    out->rows = read;
    if (hdf_has(group, "value")) {
        PB_TRY_GOTO(status, hdf_numbers_read(group, "value", RECORD_F64, &read, &count), out);
        out->values = read;
    } else {
        count = out->count;
        PB_TRY_GOTO(status, PB_ALLOC(out->values, count + 1), out);
        for (int64_t i = 0; i < count; i++) {
            out->values[i] = NAN;
        }
    }
    if (count != out->count) {
        status = PB_FAIL(PB_ERR_FORMAT,
                         "predictions/value has %" PRId64 " rows, predictions/row %" PRId64, count,
                         out->count);
    }
out:
    hdf_release(&group);
    return status;
}

static pb_status config_of_cell(hid_t cell, void *out)
{
    return hdf_get_text(cell, "config", out);
}

static pb_status read_from_source(const pb_record *record, pb_status (*read)(hid_t cell, void *out),
                                  void *out)
{
    pb_record_source *source = NULL;
    pb_string path           = {0};
    hid_t cell               = -1;
    pb_status status;

    PB_TRY_GOTO(status, cell_source(record, &path), done);
    PB_TRY_GOTO(status, source_of(record, &source), done);
    status = hdf_group_open(source_file(source), path.data, &cell);
    if (status == PB_OK) {
        status = read(cell, out);
    }
    pb_error_prefix(status, "%s: %s", record->source_file, path.data);
    hdf_release(&cell);
    record_source_release(source);
done:
    pb_string_clear(&path);
    return status;
}

pb_status pb_record_values_read(const pb_record *record, pb_record_values *out)
{
    pb_record_values read = {0};
    bool here             = record->complete || record->source_file == NULL;
    pb_status status =
        here ? from_memory(record, &read) : read_from_source(record, from_cell, &read);
    if (status != PB_OK) {
        pb_record_values_clear(&read);
        return status;
    }
    *out = read;
    return PB_OK;
}

pb_status pb_record_config_read(const pb_record *record, char **out)
{
    *out = NULL;
    if (record->complete || record->source_file == NULL) {
        return PB_TEXT(*out, record->config != NULL ? record->config : "");
    }
    return read_from_source(record, config_of_cell, out);
}
