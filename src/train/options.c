// SPDX-License-Identifier: Apache-2.0
/* The table of the group `train`. Defaults are PEFT-Bench's, corrected protocol. */
#include "pb/train.h"

static const char *const schedules[] = {"cosine", "linear", "constant", NULL};
static const char *const means[]     = {"tokens", "rows", NULL};

const pb_config_field pb_train_fields[] = {
    PB_FIELD_FLOAT(pb_train_options, learning_rate, 5e-5, 0.0, 1e3, "",
                   "peak of the learning rate"),
    PB_FIELD_INT(pb_train_options, batch, 4, 1, 1 << 20, "rows", "rows per forward pass"),
    PB_FIELD_INT(pb_train_options, accumulate, 1, 1, 1 << 20, "passes", "forward passes per step"),
    PB_FIELD_INT_FOR(
        PB_KEPT_BEFORE, pb_train_options, split, 1, 1, 1 << 12, "parts",
        "parts of a forward pass that idle processes may compute; changes rounding only"),
    PB_FIELD_FLOAT(pb_train_options, epochs, 10.0, 0.0, 1e6, "", "passes over the training rows"),
    PB_FIELD_INT(pb_train_options, max_steps, 0, 0, INT32_MAX, "steps",
                 "maximum number of steps, 0: no limit"),
    PB_FIELD_FLOAT(pb_train_options, beta1, 0.9, 0.0, 0.9999999, "",
                   "AdamW: decay of the first moment"),
    PB_FIELD_FLOAT(pb_train_options, beta2, 0.999, 0.0, 0.9999999, "",
                   "AdamW: decay of the second moment"),
    PB_FIELD_FLOAT(pb_train_options, eps, 1e-8, 1e-30, 1.0, "",
                   "AdamW: added to the root of the second moment"),
    PB_FIELD_FLOAT(pb_train_options, weight_decay, 1e-5, 0.0, 1e3, "",
                   "AdamW: decoupled weight decay"),
    PB_FIELD_BOOL(pb_train_options, decay_all, false, "decay biases and norm weights too"),
    PB_FIELD_FLOAT(pb_train_options, warmup_ratio, 0.1, 0.0, 1.0, "",
                   "share of the steps in which the rate rises"),
    PB_FIELD_CHOICE(pb_train_options, schedule, PB_SCHEDULE_COSINE, schedules,
                    "the rate after the warm-up"),
    PB_FIELD_FLOAT(pb_train_options, clip, 1.0, 0.0, 1e9, "",
                   "maximum norm of the gradient, 0: no clipping"),
    PB_FIELD_FLOAT(pb_train_options, evaluate_share, 0.05, 0.0, 1.0, "",
                   "share of the steps between two validations, 0: none but the last"),
    PB_FIELD_BOOL(pb_train_options, evaluate_last, true, "always validate after the last step"),
    PB_FIELD_BOOL(pb_train_options, restore_best, true,
                  "end with the state of the lowest validation loss"),
    PB_FIELD_CHOICE(pb_train_options, validation_mean, PB_MEAN_TOKENS, means,
                    "validation loss: mean over label tokens, or over batches weighted by rows"),
    PB_FIELD_BOOL(pb_train_options, shuffle, true, "a new order of the rows in every epoch"),
    PB_FIELD_END,
};
