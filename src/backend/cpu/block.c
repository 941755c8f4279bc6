// SPDX-License-Identifier: Apache-2.0
/* Memory that the backend keeps for its operations. */
#include "cpu.h"

#include "pb/memory.h"

void cpu_block_free(cpu_block *block)
{
    pb_memory_free(block->data);
    *block = (cpu_block){0};
}

pb_status cpu_block_take(cpu_block *block, size_t bytes, void **data)
{
    if (bytes > block->bytes) {
        cpu_block_free(block);
        PB_TRY(PB_ALLOC(block->data, bytes));
        block->bytes = bytes;
    }
    *data = block->data;
    return PB_OK;
}

pb_status cpu_scratch(pb_backend *be, size_t bytes, void **data)
{
    return cpu_block_take(&((cpu *)be)->scratch, bytes, data);
}
