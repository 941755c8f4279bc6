// SPDX-License-Identifier: Apache-2.0
/* NVML, opened where it is; its prototypes as its documentation states them. */
#include "sensors.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

typedef struct nvmlDevice_st *nvmlDevice;

enum { NVML_CLOCK_SM = 1, VERSION_BYTES = 80 };

typedef struct library {
    int (*init)(void);
    int (*count)(unsigned *count);
    int (*by_index)(unsigned index, nvmlDevice *device);
    int (*by_uuid)(const char *uuid, nvmlDevice *device);
    int (*driver)(char *version, unsigned length);
    int (*power)(nvmlDevice device, unsigned *milliwatts);
    int (*limit)(nvmlDevice device, unsigned *milliwatts);
    int (*clock)(nvmlDevice device, int type, unsigned *mhz);
    int (*most_clock)(nvmlDevice device, int type, unsigned *mhz);
    int (*energy)(nvmlDevice device, unsigned long long *millijoules);
} library;

static bool load(library *l)
{
    const struct {
        const char *name;
        void *function;
    } symbols[] = {
        {"nvmlInit_v2", &l->init},
        {"nvmlDeviceGetCount_v2", &l->count},
        {"nvmlDeviceGetHandleByIndex_v2", &l->by_index},
        {"nvmlDeviceGetHandleByUUID", &l->by_uuid},
        {"nvmlSystemGetDriverVersion", &l->driver},
        {"nvmlDeviceGetPowerUsage", &l->power},
        {"nvmlDeviceGetEnforcedPowerLimit", &l->limit},
        {"nvmlDeviceGetClockInfo", &l->clock},
        {"nvmlDeviceGetMaxClockInfo", &l->most_clock},
        {"nvmlDeviceGetTotalEnergyConsumption", &l->energy},
    };
    void *handle = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
    for (size_t i = 0; handle != NULL && i < sizeof symbols / sizeof *symbols; i++) {
        void *symbol = dlsym(handle, symbols[i].name);
        if (symbol == NULL) {
            return false;
        }
        memcpy(symbols[i].function, &symbol, sizeof symbol);
    }
    return handle != NULL && l->init() == 0;
}

/* The first device that CUDA_VISIBLE_DEVICES leaves, which is the one that the runtime numbers 0.
 */
static bool find(const library *l, nvmlDevice *device)
{
    const char *visible = getenv("CUDA_VISIBLE_DEVICES");
    char first[80]      = "0";
    if (visible != NULL && strcspn(visible, ",") < sizeof first) {
        memcpy(first, visible, strcspn(visible, ","));
        first[strcspn(visible, ",")] = '\0';
    }
    char *end       = NULL;
    unsigned long n = strtoul(first, &end, 10);
    return *first != '\0' && *end == '\0' ? l->by_index((unsigned)n, device) == 0
                                          : l->by_uuid(first, device) == 0;
}

sensors read_sensors(void)
{
    static library l;
    static nvmlDevice device;
    static int state; /* 0: not tried, 1: there, -1: absent */
    sensors s = {0};
    if (state == 0) {
        state = load(&l) && find(&l, &device) ? 1 : -1;
    }
    if (state < 0) {
        return s;
    }
    unsigned value            = 0;
    unsigned long long energy = 0;
    s.known                   = l.driver(s.driver, VERSION_BYTES) == 0;
    s.watts                   = l.power(device, &value) == 0 ? value * 1e-3 : 0.0;
    s.limit_watts             = l.limit(device, &value) == 0 ? value * 1e-3 : 0.0;
    s.mhz                     = l.clock(device, NVML_CLOCK_SM, &value) == 0 ? value : 0.0;
    s.most_mhz                = l.most_clock(device, NVML_CLOCK_SM, &value) == 0 ? value : 0.0;
    s.joules                  = l.energy(device, &energy) == 0 ? (double)energy * 1e-3 : 0.0;
    return s;
}
