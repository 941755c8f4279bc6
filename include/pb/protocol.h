// SPDX-License-Identifier: Apache-2.0
/* The two protocols of PEFT-Bench: `corrected` scores soundly, `paper` reproduces the procedure
 * behind the published numbers, defects included. */
#pragma once

typedef enum pb_protocol { PB_PROTOCOL_CORRECTED, PB_PROTOCOL_PAPER } pb_protocol;

/* "corrected" and "paper" by value, NULL-terminated, as configurations and records spell them. */
extern const char *const pb_protocol_names[];
