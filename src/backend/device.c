// SPDX-License-Identifier: Apache-2.0
/* The text of a device → backend and number. */
#include "pb/device.h"

#include "pb/backend.h"
#include "pb/utf8.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

pb_status pb_device_parse(const char *text, int node_rank, const char **backend, int *number)
{
    const pb_backend_ops *ops = NULL;
    const char *colon         = strchr(text, ':');
    size_t digits             = colon != NULL ? strspn(colon + 1, "0123456789") : 0;
    bool numbered             = digits >= 1 && digits <= 4 && colon[1 + digits] == '\0';
    char word[64];

    if (strcmp(text, "auto") == 0) {
        *backend = "auto";
        *number  = -1 - node_rank;
        return PB_OK;
    }
    (void)snprintf(word, sizeof word, "%.*s",
                   numbered ? (int)(colon - text) : pb_utf8_fit(text, sizeof word - 1), text);
    if (numbered && strcmp(word, "auto") == 0) {
        return PB_FAIL(PB_ERR_CONFIG,
                       "%s: \"auto\" takes no number; name the device, such as cuda:%s", text,
                       colon + 1);
    }
    PB_TRY(pb_backend_find(word, &ops));
    *backend = ops->name;
    *number  = numbered ? (int)strtol(colon + 1, NULL, 10) : -1 - node_rank;
    return PB_OK;
}
