// SPDX-License-Identifier: Apache-2.0
/* What every file of a grid has in common: opening it, and checking the groups that it holds. */
#include "internal.h"

pb_status grid_file_open(const char *path, pb_config **out)
{
    pb_status status = pb_config_open(path, out);
    if (status == PB_ERR_NOT_FOUND || status == PB_ERR_IO) {
        return PB_FAIL(PB_ERR_CONFIG, "%s", pb_error_message());
    }
    return PB_FRAME(status);
}

pb_status grid_check_groups(const pb_config *config, const char *group, const char *const *allowed)
{
    static const pb_config_field none[] = {PB_FIELD_END};
    const char *name                    = "";
    char nothing                        = 0;
    PB_TRY(pb_config_read(config, group, none, allowed, &nothing));
    for (int64_t i = 0; name != NULL; i++) {
        const char *first = NULL;
        pb_string path    = {0};
        PB_TRY(pb_config_key(config, group, i, &name));
        if (name == NULL) {
            break;
        }
        pb_status status =
            pb_string_printf(&path, "%s%s%s", group, *group == '\0' ? "" : ".", name);
        if (status == PB_OK) {
            status = pb_config_key(config, path.data, 0, &first); /* fails when it is not a group */
        }
        pb_string_clear(&path);
        PB_TRY(status);
    }
    return PB_OK;
}
