// SPDX-License-Identifier: Apache-2.0
/* What the driver's management library says of the device; absent where the library is. */
#pragma once

#include <stdbool.h>

typedef struct sensors {
    bool known;
    char driver[80];
    double watts, limit_watts; /* now; the power cap */
    double mhz, most_mhz;      /* of the multiprocessors */
    double joules;             /* since some start; 0: not counted */
} sensors;

/* All zero where nothing is known. */
sensors read_sensors(void);
