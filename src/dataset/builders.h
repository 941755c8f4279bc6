// SPDX-License-Identifier: Apache-2.0
/* The builders of registry.def. */
#pragma once

#include "pb/dataset.h"

#define PB_ENTRY(name, source) extern const pb_dataset_builder builder_##name;
#include "registry.def"
