// SPDX-License-Identifier: Apache-2.0
/* Weights placed in the memory of every registered backend: the values of the model, with
 * borders if that memory is not the host's, which then gives back the pages of the file. */
#include "device.h"
#include "fixture.h"

#include "pb/memory.h"
#include "pb/usage.h"
#include "pb/weights.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static float *host_copy(pb_backend *be, const pb_tensor *t)
{
    float *host    = calloc((size_t)pb_tensor_count(t), sizeof *host);
    pb_tensor copy = *t;
    copy.data      = host;
    copy.stride    = t->ndim == 1 ? 1 : pb_tensor_width(t);
    assert_int_equal(pb_copy(be, &copy, t), PB_OK);
    return host;
}

static void expect_values(pb_backend *be, const pb_tensor *placed, const pb_tensor *own)
{
    assert_int_equal(pb_tensor_is_none(placed), pb_tensor_is_none(own));
    if (pb_tensor_is_none(own)) {
        return;
    }
    assert_true(pb_tensor_same_shape(placed, own) && placed->dtype == own->dtype);
    float *values = host_copy(be, placed);
    assert_memory_equal(values, own->data, pb_tensor_bytes(own));
    free(values);
    assert_int_equal(placed->data == own->data, pb_backend_is_host(be));
}

/* A weight with the columns beside it and the rows below it. */
static pb_tensor with_border(const pb_tensor *weight)
{
    pb_tensor all = pb_tensor_widen(weight, weight->border);
    all.shape[0] += weight->border;
    return all;
}

/* Zeros beside and below the weight. */
static void expect_border(const pb_weights *w, const pb_site *site, int64_t border)
{
    const pb_tensor *weight = &pb_weights_at(w, site->index)->weight;
    pb_tensor all           = with_border(weight);
    float *values           = host_copy(pb_weights_backend(w), &all);
    assert_int_equal(weight->border, border);
    assert_int_equal(weight->stride, site->in + border);
    for (int64_t r = 0; r < all.shape[0]; r++) {
        for (int64_t c = r < site->out ? site->in : 0; c < all.shape[1]; c++) {
            assert_true(values[r * all.shape[1] + c] == 0.0f);
        }
    }
    free(values);
}

static void expect_placed(const char *backend, const pb_model *model, int64_t border)
{
    pb_backend *be = NULL;
    pb_weights *w  = NULL;
    assert_int_equal(pb_backend_open(backend, 0, 1, &be), PB_OK);
    assert_int_equal(pb_weights_open(model, be, border, &w), PB_OK);
    for (int64_t i = 0; i < pb_model_site_count(model); i++) {
        const pb_site *site     = pb_model_site_at(model, i);
        const pb_placed *placed = pb_weights_at(w, i);
        expect_values(be, &placed->weight, &site->weight);
        expect_values(be, &placed->bias, &site->bias);
        if (site->site_class == PB_SITE_LINEAR) {
            expect_border(w, site, pb_backend_is_host(be) ? 0 : border);
        }
    }
    const pb_site *head = pb_model_site(model, PB_SITE_HEAD, -1);
    assert_int_equal(pb_weights_at(w, head->index)->weight.data == pb_weights_at(w, 0)->weight.data,
                     pb_model_get_config(model)->tied);
    if (pb_backend_is_host(be)) {
        assert_int_equal(pb_weights_bytes(w), 0);
    } else {
        assert_true(pb_weights_bytes(w) >= pb_model_bytes(model));
    }
    pb_weights_close(w);
    pb_backend_close(be);
}

static void placed_weights_are_those_of_the_model(void **state)
{
    (void)state;
    for (int tied = 0; tied < 2; tied++) {
        pb_model *model        = NULL;
        pb_model_config config = fixture_config();
        config.tied            = tied != 0;
        config.qkv_bias        = tied != 0;
        assert_int_equal(pb_model_open_random(&config, 3, 1, &model), PB_OK);
        for (const pb_backend_ops *const *ops = pb_backend_registry(); *ops != NULL; ops++) {
            if (!device_is_absent((*ops)->name)) {
                expect_placed((*ops)->name, model, 0);
                expect_placed((*ops)->name, model, 5);
            }
        }
        pb_model_close(model);
    }
    assert_int_equal(pb_memory_current(), 0);
}

/* Values of a matrix spread as N(0, 0.02²). */
static void expect_spread(pb_backend *be, const pb_tensor *t)
{
    float *values  = host_copy(be, t);
    int64_t count  = pb_tensor_count(t);
    double sum     = 0.0;
    double squares = 0.0;
    for (int64_t i = 0; i < count; i++) {
        sum += (double)values[i];
        squares += (double)values[i] * (double)values[i];
    }
    assert_true(sum * sum <= 16.0 * 4e-4 * (double)count);
    assert_true(squares > 0.5 * 4e-4 * (double)count && squares < 2.0 * 4e-4 * (double)count);
    free(values);
}

static void expect_random(const char *backend, const pb_model *shape)
{
    pb_backend *be   = NULL;
    pb_weights *w[3] = {NULL};
    assert_int_equal(pb_backend_open(backend, 0, 1, &be), PB_OK);
    for (uint64_t i = 0; i < 3; i++) {
        assert_int_equal(pb_weights_random(shape, be, 3, PB_DTYPE_F32, 7 + i / 2, &w[i]), PB_OK);
    }
    for (int64_t i = 0; i < pb_model_site_count(shape); i++) {
        const pb_site *site     = pb_model_site_at(shape, i);
        const pb_tensor *weight = &pb_weights_at(w[0], i)->weight;
        const pb_tensor *bias   = &pb_weights_at(w[0], i)->bias;
        float *values           = host_copy(be, weight);
        float *same             = host_copy(be, &pb_weights_at(w[1], i)->weight);
        float *other            = host_copy(be, &pb_weights_at(w[2], i)->weight);
        bool norm               = site->site_class == PB_SITE_NORM;
        assert_memory_equal(values, same, pb_tensor_bytes(weight));
        assert_int_equal(memcmp(values, other, pb_tensor_bytes(weight)) == 0, norm);
        for (int64_t n = 0; norm && n < site->out; n++) {
            assert_true(values[n] == 1.0f);
        }
        if (!norm) {
            expect_spread(be, weight);
        }
        assert_int_equal(pb_tensor_is_none(bias), !site->has_bias);
        free(values);
        free(same);
        free(other);
    }
    expect_border(w[0], pb_model_site(shape, PB_SITE_O, 0), 3);
    for (int i = 0; i < 3; i++) {
        pb_weights_close(w[i]);
    }
    pb_backend_close(be);
}

static void random_weights_are_made_where_they_lie(void **state)
{
    (void)state;
    pb_model_config config = fixture_config();
    pb_model *shape        = NULL;
    config.qkv_bias        = true;
    assert_int_equal(pb_model_open_shape(&config, &shape), PB_OK);
    for (const pb_backend_ops *const *ops = pb_backend_registry(); *ops != NULL; ops++) {
        if (!device_is_absent((*ops)->name)) {
            expect_random((*ops)->name, shape);
        }
    }
    pb_model_close(shape);
    assert_int_equal(pb_memory_current(), 0);
}

/* Bytes of the file that this process has in memory: the sum over its mappings. */
static int64_t resident(const char *file)
{
    char line[1024];
    bool inside   = false;
    int64_t total = 0;
    FILE *maps    = fopen("/proc/self/smaps", "r");
    assert_non_null(maps);
    while (fgets(line, sizeof line, maps) != NULL) {
        unsigned long begin = 0;
        unsigned long end   = 0;
        long long kilobytes = 0;
        if (sscanf(line, "%lx-%lx ", &begin, &end) == 2) {
            inside = strstr(line, file) != NULL;
        }
        if (inside && sscanf(line, "Rss: %lld kB", &kilobytes) == 1) {
            total += kilobytes * 1024;
        }
    }
    (void)fclose(maps);
    return total;
}

static void weights_that_were_copied_leave_the_file_s_memory(void **state)
{
    (void)state;
    pb_model_config config = fixture_config();
    const char *path       = fixture_model("released", &config);
    for (const pb_backend_ops *const *ops = pb_backend_registry(); *ops != NULL; ops++) {
        pb_model *model = NULL;
        pb_backend *be  = NULL;
        pb_weights *w   = NULL;
        if (device_is_absent((*ops)->name)) {
            continue;
        }
        assert_int_equal(pb_model_open(path, NULL, 1, &model), PB_OK);
        assert_true(resident("released/model.safetensors") > 0);
        assert_int_equal(pb_backend_open((*ops)->name, 0, 1, &be), PB_OK);
        assert_int_equal(pb_weights_open(model, be, 0, &w), PB_OK);
        assert_int_equal(resident("released/model.safetensors") > 0, pb_backend_is_host(be));
        for (int64_t i = 0; i < pb_model_site_count(model); i++) {
            expect_values(be, &pb_weights_at(w, i)->weight, &pb_model_site_at(model, i)->weight);
        }
        pb_weights_close(w);
        pb_backend_close(be);
        pb_model_close(model);
    }
    fixture_remove();
    assert_int_equal(pb_memory_current(), 0);
}

static void what_cannot_be_placed_is_refused(void **state)
{
    (void)state;
    pb_model_config config = fixture_config();
    pb_model *shape        = NULL;
    pb_model *model        = NULL;
    pb_backend *be         = NULL;
    pb_weights *w          = NULL;
    assert_int_equal(pb_backend_open("cpu", 0, 1, &be), PB_OK);
    assert_int_equal(pb_model_open_shape(&config, &shape), PB_OK);
    assert_int_equal(pb_model_open_random(&config, 3, 1, &model), PB_OK);
    fixture_expect(pb_weights_open(shape, be, 0, &w), PB_ERR_ARGUMENT, "without", NULL);
    fixture_expect(pb_weights_open(model, be, -1, &w), PB_ERR_ARGUMENT, "border of -1", NULL);
    pb_model_close(model);
    pb_model_close(shape);
    pb_backend_close(be);
    assert_int_equal(pb_memory_current(), 0);
}

static void weights_without_memory_leave_nothing_behind(void **state)
{
    (void)state;
    pb_model *model        = NULL;
    pb_model_config config = fixture_config();
    assert_int_equal(pb_model_open_random(&config, 3, 1, &model), PB_OK);
    for (const pb_backend_ops *const *ops = pb_backend_registry(); *ops != NULL; ops++) {
        pb_backend *be  = NULL;
        pb_weights *w   = NULL;
        size_t held     = 0;
        size_t room     = 0;
        pb_status found = PB_ERR_MEMORY;
        if (device_is_absent((*ops)->name)) {
            continue;
        }
        assert_int_equal(pb_backend_open((*ops)->name, 0, 1, &be), PB_OK);
        size_t before = pb_memory_current();
        for (; found == PB_ERR_MEMORY; room = room * 2 + 64) {
            pb_memory_limit(before + room);
            found = pb_weights_open(model, be, 2, &w);
            pb_memory_limit(0);
            pb_backend_memory(be, &held, NULL);
            assert_true(found == PB_OK || (held == 0 && pb_memory_current() == before));
        }
        assert_int_equal(found, PB_OK);
        assert_int_equal(held, pb_weights_bytes(w));
        pb_weights_close(w);
        pb_backend_close(be);
    }
    pb_model_close(model);
    assert_int_equal(pb_memory_current(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(placed_weights_are_those_of_the_model),
        cmocka_unit_test(random_weights_are_made_where_they_lie),
        cmocka_unit_test(weights_that_were_copied_leave_the_file_s_memory),
        cmocka_unit_test(what_cannot_be_placed_is_refused),
        cmocka_unit_test(weights_without_memory_leave_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
