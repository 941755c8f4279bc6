// SPDX-License-Identifier: Apache-2.0
/* The builders, one file each; registry.c lists them. */
#pragma once

#include "pb/dataset.h"

extern const pb_dataset_builder pb_builder_template;
extern const pb_dataset_builder pb_builder_record;
extern const pb_dataset_builder pb_builder_wsc;
extern const pb_dataset_builder pb_builder_synthetic;

const pb_dataset_builder *pb_builder_find(const char *name); /* NULL when there is none */
