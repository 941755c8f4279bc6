// SPDX-License-Identifier: Apache-2.0
/* What the driver's library NVML knows of the device: driver, clocks, power limit, ECC, energy. It
 * is opened when a device is. Nothing depends on it: where the library, one of its functions or a
 * value is absent, results lack it and say why. */
#include "cuda.h"

#include "pb/memory.h"
#include "pb/utf8.h"

#include <dlfcn.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { BUS_ID = 32, VALUE = 128 };

/* Parts of NVML's interface as its documentation has them; its header is not in every toolkit. */
typedef int nvml_return; /* 0: success */
typedef struct nvml_device *nvml_handle;
enum { NVML_CLOCK_SM = 1, NVML_CLOCK_MEMORY = 2, NVML_ON = 1 };

typedef struct nvml_functions {
    nvml_return (*nvmlInit_v2)(void);
    nvml_return (*nvmlShutdown)(void);
    const char *(*nvmlErrorString)(nvml_return code);
    nvml_return (*nvmlDeviceGetHandleByPciBusId_v2)(const char *bus_id, nvml_handle *device);
    nvml_return (*nvmlSystemGetDriverVersion)(char *version, unsigned length);
    nvml_return (*nvmlDeviceGetClockInfo)(nvml_handle device, int clock, unsigned *mhz);
    nvml_return (*nvmlDeviceGetMaxClockInfo)(nvml_handle device, int clock, unsigned *mhz);
    nvml_return (*nvmlDeviceGetEnforcedPowerLimit)(nvml_handle device, unsigned *milliwatts);
    nvml_return (*nvmlDeviceGetEccMode)(nvml_handle device, int *current, int *pending);
    nvml_return (*nvmlDeviceGetMigMode)(nvml_handle device, unsigned *current, unsigned *pending);
    nvml_return (*nvmlDeviceGetTotalEnergyConsumption)(nvml_handle device,
                                                       unsigned long long *millijoules);
} nvml_functions;

typedef struct symbol {
    const char *name;
    size_t offset; /* in nvml_functions */
    bool needed;   /* without it nothing else can be asked */
} symbol;

#define SYMBOL(name, needed)                            \
    {                                                   \
#name, offsetof(nvml_functions, name), (needed) \
    }
static const symbol symbols[] = {
    SYMBOL(nvmlInit_v2, true),
    SYMBOL(nvmlShutdown, true),
    SYMBOL(nvmlErrorString, true),
    SYMBOL(nvmlDeviceGetHandleByPciBusId_v2, true),
    SYMBOL(nvmlSystemGetDriverVersion, false),
    SYMBOL(nvmlDeviceGetClockInfo, false),
    SYMBOL(nvmlDeviceGetMaxClockInfo, false),
    SYMBOL(nvmlDeviceGetEnforcedPowerLimit, false),
    SYMBOL(nvmlDeviceGetEccMode, false),
    SYMBOL(nvmlDeviceGetMigMode, false),
    SYMBOL(nvmlDeviceGetTotalEnergyConsumption, false),
};

struct cuda_nvml {
    void *library;
    bool started;
    nvml_functions f;
    nvml_handle device; /* NULL: nothing is known, see absent */
    char absent[VALUE];
    char no_energy[VALUE]; /* why the energy is not known */
};

/* Opening ------------------------------------------------------------------------------------- */

static bool load(cuda_nvml *n)
{
    n->library = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
    if (n->library == NULL) {
        (void)snprintf(n->absent, sizeof n->absent, "the library NVML cannot be opened");
        return false;
    }
    for (size_t i = 0; i < sizeof symbols / sizeof *symbols; i++) {
        void *found = dlsym(n->library, symbols[i].name);
        memcpy((char *)&n->f + symbols[i].offset, &found, sizeof found);
        if (found == NULL && symbols[i].needed) {
            (void)snprintf(n->absent, sizeof n->absent, "the library NVML has no %s",
                           symbols[i].name);
            return false;
        }
    }
    return true;
}

/* False, with the library's own text, where a call failed. */
static bool succeeded(const cuda_nvml *n, nvml_return code, const char *what, char *why)
{
    if (code != 0) {
        (void)snprintf(why, VALUE, "%s: %.*s", what, PB_FIT(n->f.nvmlErrorString(code), 80));
    }
    return code == 0;
}

static bool start(cuda_nvml *n, const char *bus_id)
{
    n->started = succeeded(n, n->f.nvmlInit_v2(), "nvmlInit_v2", n->absent);
    if (!n->started) {
        return false;
    }
    nvml_return code = n->f.nvmlDeviceGetHandleByPciBusId_v2(bus_id, &n->device);
    if (!succeeded(n, code, "nvmlDeviceGetHandleByPciBusId_v2", n->absent)) {
        n->device = NULL;
    }
    return n->device != NULL;
}

/* The device is found by its address on the bus: NVML numbers all devices of the machine, CUDA
 * those that the process may use. */
pb_status cuda_nvml_open(cuda *c)
{
    char bus_id[BUS_ID] = "";
    PB_TRY(PB_ALLOC(c->nvml, 1));
    CUDA_TRY(cudaDeviceGetPCIBusId(bus_id, sizeof bus_id, c->device));
    if (!load(c->nvml) || !start(c->nvml, bus_id)) {
        memcpy(c->nvml->no_energy, c->nvml->absent, sizeof c->nvml->absent);
    }
    return PB_OK;
}

void cuda_nvml_close(cuda *c)
{
    cuda_nvml *n = c->nvml;
    if (n == NULL) {
        return;
    }
    if (n->started) {
        (void)n->f.nvmlShutdown();
    }
    if (n->library != NULL) {
        (void)dlclose(n->library);
    }
    pb_memory_free(n);
    c->nvml = NULL;
}

/* Energy -------------------------------------------------------------------------------------- */

static bool is_divided(const cuda_nvml *n)
{
    unsigned current = 0;
    unsigned pending = 0;
    return n->f.nvmlDeviceGetMigMode != NULL &&
           n->f.nvmlDeviceGetMigMode(n->device, &current, &pending) == 0 && current == NVML_ON;
}

static bool read_energy(cuda_nvml *n, unsigned long long *millijoules)
{
    static const char name[] = "nvmlDeviceGetTotalEnergyConsumption";
    if (n->device == NULL) {
        return false;
    }
    if (n->f.nvmlDeviceGetTotalEnergyConsumption == NULL) {
        (void)snprintf(n->no_energy, VALUE, "the library NVML has no %s", name);
        return false;
    }
    if (is_divided(n)) {
        (void)snprintf(n->no_energy, VALUE, "MIG is on: the counter is that of the whole device");
        return false;
    }
    return succeeded(n, n->f.nvmlDeviceGetTotalEnergyConsumption(n->device, millijoules), name,
                     n->no_energy);
}

double cuda_energy(pb_backend *be, const char **why)
{
    cuda *c                        = cuda_of(be);
    unsigned long long millijoules = 0;
    cudaError_t code               = cudaStreamSynchronize(c->stream);
    if (code != cudaSuccess) {
        cuda_drop(code, "the energy is unknown: cudaStreamSynchronize");
        *why = "work on the device failed";
        return (double)NAN;
    }
    if (!read_energy(c->nvml, &millijoules)) {
        *why = c->nvml->no_energy;
        return (double)NAN;
    }
    return (double)millijoules / 1e3;
}

/* Facts --------------------------------------------------------------------------------------- */

typedef nvml_return read_clock(nvml_handle device, int clock, unsigned *mhz);

static pb_status put_clock(const cuda_nvml *n, read_clock *reads, int clock, const char *name,
                           pb_backend_put *put, void *context)
{
    char text[VALUE];
    unsigned mhz = 0;
    if (reads == NULL || reads(n->device, clock, &mhz) != 0) {
        return PB_OK;
    }
    (void)snprintf(text, sizeof text, "%u", mhz);
    return put(context, name, text);
}

static pb_status put_power(const cuda_nvml *n, pb_backend_put *put, void *context)
{
    char text[VALUE];
    unsigned milliwatts = 0;
    if (n->f.nvmlDeviceGetEnforcedPowerLimit == NULL ||
        n->f.nvmlDeviceGetEnforcedPowerLimit(n->device, &milliwatts) != 0) {
        return PB_OK;
    }
    (void)snprintf(text, sizeof text, "%.1f", (double)milliwatts / 1e3);
    return put(context, "power_cap_w", text);
}

static pb_status put_modes(const cuda_nvml *n, pb_backend_put *put, void *context)
{
    int current = 0;
    int pending = 0;
    if (n->f.nvmlDeviceGetEccMode != NULL &&
        n->f.nvmlDeviceGetEccMode(n->device, &current, &pending) == 0) {
        PB_TRY(put(context, "ecc", current == NVML_ON ? "on" : "off"));
    }
    return is_divided(n) ? put(context, "mig", "on") : PB_OK;
}

static pb_status put_driver(const cuda_nvml *n, pb_backend_put *put, void *context)
{
    char text[VALUE] = "";
    if (n->f.nvmlSystemGetDriverVersion == NULL ||
        n->f.nvmlSystemGetDriverVersion(text, sizeof text - 1) != 0) {
        return PB_OK;
    }
    return put(context, "driver", text);
}

pb_status cuda_nvml_facts(const cuda *c, pb_backend_put *put, void *context)
{
    const cuda_nvml *n = c->nvml;
    char text[VALUE + sizeof "absent: "];
    if (n->device == NULL) {
        (void)snprintf(text, sizeof text, "absent: %s", n->absent);
        return put(context, "nvml", text);
    }
    PB_TRY(put_driver(n, put, context));
    PB_TRY(put_clock(n, n->f.nvmlDeviceGetClockInfo, NVML_CLOCK_SM, "sm_clock_mhz", put, context));
    PB_TRY(put_clock(n, n->f.nvmlDeviceGetMaxClockInfo, NVML_CLOCK_SM, "sm_clock_max_mhz", put,
                     context));
    PB_TRY(put_clock(n, n->f.nvmlDeviceGetClockInfo, NVML_CLOCK_MEMORY, "memory_clock_mhz", put,
                     context));
    PB_TRY(put_power(n, put, context));
    return put_modes(n, put, context);
}
