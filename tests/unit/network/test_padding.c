// SPDX-License-Identifier: Apache-2.0
/* A padded batch has the loss and the gradients of the batch itself. */
#include "network_fixture.h"
#include "waited.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* More than 16 rows: products of fewer are computed by other kernels on some backends, with other
 * bits. */
enum { SAMPLES = NETWORK_ROWS };

typedef struct outcome {
    double loss;
    float *grads;
} outcome;

static outcome step_of(network_fixture *f, const network_rows *rows, bool pad)
{
    pb_batch batch;
    outcome o                = {0};
    pb_batch_options options = pb_network_batch_options(f->net, true);
    options.pad              = pad;
    assert_ok(pb_batch_build(rows->samples, SAMPLES, &options, &batch));
    assert_int_equal(pad, batch.padded_labels > batch.labels);
    o.loss  = network_step(f, &batch, 3);
    o.grads = host_values(f->backend, &f->method->grads);
    pb_batch_clear(&batch);
    return o;
}

/* The CPU's library may add up a row in another way when there are more of them. */
static bool is_same(const pb_backend *be, double a, double b)
{
    return pb_backend_pads(be) ? memcmp(&a, &b, sizeof a) == 0
                               : fabs(a - b) <= 1e-5 * (1.0 + fabs(a));
}

static void padding_changes_nothing(void **state)
{
    network_rows rows;
    (void)state;
    network_rows_fill(&rows);
    for (int i = 0; i < method_case_count(); i++) {
        const method_case *c = method_case_at(i);
        network_fixture f;
        if (i % 3 != 0 && strcmp(c->method, "full") != 0) { /* they take their time */
            continue;
        }
        network_fixture_open(&f, c, true, 2);
        outcome bare   = step_of(&f, &rows, false);
        outcome padded = step_of(&f, &rows, true);
        if (!is_same(f.backend, bare.loss, padded.loss)) {
            fail_msg("%s: loss %.17g, padded %.17g", method_case_text(c), bare.loss, padded.loss);
        }
        for (int64_t k = 0; k < f.method->parameters; k++) {
            if (!is_same(f.backend, (double)bare.grads[k], (double)padded.grads[k])) {
                fail_msg("%s: gradient %d is %.9g, padded %.9g", method_case_text(c), (int)k,
                         (double)bare.grads[k], (double)padded.grads[k]);
            }
        }
        free(bare.grads);
        free(padded.grads);
        network_fixture_close(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(padding_changes_nothing),
    };
    return cmocka_run_group_tests_name("unit_network_padding", tests, NULL, NULL);
}
