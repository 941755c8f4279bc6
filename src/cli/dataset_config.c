// SPDX-License-Identifier: Apache-2.0
/* Finding and opening the configuration of one data set. */
#include "dataset_config.h"
#include "session.h"

#include "pb/file.h"
#include "pb/grid.h"
#include "pb/memory.h"

#include <stdio.h>
#include <string.h>

#define SUFFIX ".cfg"

const pb_option dataset_config_options[] = {
    PB_CLI_NEEDED("dataset", "NAME", "a name from configs/dataset or a path that ends in .cfg"),
    {.name     = "protocol",
     .kind     = PB_OPTION_TEXT,
     .value    = "paper|corrected",
     .required = true,
     .choices  = pb_protocol_names,
     .help     = "whose rules apply"},
    PB_CLI_LIST("set", "KEY=VALUE", "set a key of that file, like dataset.metric=accuracy"),
    PB_OPTION_END,
};

pb_protocol dataset_config_protocol(const pb_cli *cli)
{
    const char *name = pb_cli_text(cli, "protocol");
    return strcmp(name, pb_protocol_names[PB_PROTOCOL_PAPER]) == 0 ? PB_PROTOCOL_PAPER
                                                                   : PB_PROTOCOL_CORRECTED;
}

pb_status dataset_config_own(const char *name, char **path)
{
    pb_string own = {0};
    pb_status status;

    PB_TRY_GOTO(status, pb_grid_own_configs(&own), done);
    if (own.length == 0) {
        status = PB_FAIL(PB_ERR_CONFIG,
                         "the configurations of this program are not beside it; name a model "
                         "(--model)");
        goto done;
    }
    PB_TRY_GOTO(status, pb_path_join(own.data, name, path), done);
done:
    pb_string_clear(&own);
    return status;
}

static pb_status expand_path(const char *place, const char *name, char **path)
{
    char *expanded = NULL;

    PB_TRY(pb_path_expand(name, &expanded));
    if (!pb_path_exists(expanded)) {
        pb_memory_free(expanded);
        return PB_FAIL(PB_ERR_CONFIG, "%s %s: no such file", place, name);
    }
    *path = expanded;
    return PB_OK;
}

static pb_status find_file(const char *place, const char *name, char **path)
{
    if (pb_string_ends(name, SUFFIX) && strcmp(name, SUFFIX) != 0) {
        return expand_path(place, name, path);
    }
    if (*name == '\0' || strchr(name, '/') != NULL) {
        return PB_FAIL(
            PB_ERR_CONFIG,
            "%s \"%s\" is neither a name from configs/dataset nor a path that ends in " SUFFIX,
            place, name);
    }
    return pb_grid_find_file(place, "dataset", name, "configs", path);
}

/* The file may belong to an axis of a grid and hold other groups beside `dataset`. */
static pb_status check_groups(const pb_config *config)
{
    static const char *const groups[]   = {"dataset", "train", "data", "eval", NULL};
    static const pb_config_field none[] = {PB_FIELD_END};
    char nothing                        = 0;

    PB_TRY(pb_config_read(config, "", none, groups, &nothing));
    if (!pb_config_has(config, "dataset")) {
        return PB_FAIL(PB_ERR_CONFIG,
                       "%s: group dataset is missing; it is written dataset = { … };",
                       pb_config_path(config));
    }
    return PB_OK;
}

pb_status dataset_config_open(const pb_cli *cli, const char *place, const char *name,
                              const char *const *groups, bool rows, pb_config **out)
{
    char *path        = NULL;
    pb_config *config = NULL;
    pb_status status;

    PB_TRY_GOTO(status, find_file(place, name, &path), done);
    PB_TRY_GOTO(status, pb_config_open(path, &config), done);
    PB_TRY_GOTO(status, check_groups(config), err_config);
    PB_TRY_GOTO(status, session_set_keys(cli, groups, config), err_config);
    if (!rows) {
        PB_TRY_GOTO(status, pb_config_set(config, "dataset.train_file=\"\""), err_config);
        PB_TRY_GOTO(status, pb_config_set(config, "dataset.test_file=\"\""), err_config);
    }
    *out = config;
    goto done;
err_config:
    pb_config_close(config);
done:
    pb_memory_free(path);
    return status;
}
