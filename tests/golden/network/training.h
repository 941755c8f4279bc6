// SPDX-License-Identifier: Apache-2.0
/* A method against golden values of its training: logits of the initial adapter, gradients of the
 * first batch, a curve of 12 steps, final tensors and logits. The files are described in the README
 * of the shared golden values. */
#pragma once

/* Folder of a model, its token sequences and batches (JSON), folder of the golden values; what the
 * network does not save (see pb_network_without). Fails the test if they differ. */
void golden_training_check(const char *model, const char *data, const char *folder,
                           unsigned without);
