// SPDX-License-Identifier: Apache-2.0
/* A data set from texts: files in a separate folder, options of RTE's shape. */
#pragma once

#include "samples.h"
#include "support.h"

#include "pb/dataset.h"

/* Two columns s and t, and a label of yes and no. */
#define ROW(s, t, label) "{\"s\":\"" s "\",\"t\":\"" t "\",\"label\":" label "}\n"

extern const char *const fixture_options; /* the keys that go with it */

/* Set-up and tear-down of a group of tests: the folder; all accounted memory has been returned. */
int fixture_open(void **state);
int fixture_close(void **state);

const char *fixture_path(const char *name); /* in one of a few static buffers */
void fixture_write(const char *name, const char *bytes, size_t length);

/* Opens the data set of `options` (keys of the group), files train.jsonl and test.jsonl. */
pb_status fixture_dataset(const char *options, pb_protocol protocol, const pb_data_options *data,
                          pb_dataset **out);
/* Opens it, reads both splits, and closes it; on failure both are empty. */
pb_status fixture_samples(const char *options, pb_protocol protocol, const pb_data_options *data,
                          test_samples splits[PB_SPLIT_COUNT]);
void fixture_clear(test_samples splits[PB_SPLIT_COUNT]);
