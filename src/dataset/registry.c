// SPDX-License-Identifier: Apache-2.0
/* All builders. A new one is a file, a line in builders.h and a line here. */
#include "builders.h"

#include <string.h>

static const pb_dataset_builder *const builders[] = {
    &pb_builder_template, &pb_builder_record, &pb_builder_wsc, &pb_builder_synthetic, NULL,
};

const pb_dataset_builder *const *pb_dataset_registry(void)
{
    return builders;
}

const pb_dataset_builder *pb_builder_find(const char *name)
{
    for (size_t i = 0; builders[i] != NULL; i++) {
        if (strcmp(builders[i]->name, name) == 0) {
            return builders[i];
        }
    }
    return NULL;
}
