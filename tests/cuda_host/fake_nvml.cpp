// SPDX-License-Identifier: Apache-2.0
/* A library NVML without a device: libnvidia-ml.so.1, which programs find by LD_LIBRARY_PATH. The
 * environment variable FAKE_NVML names what fails, or how the counter of energy runs, and
 * FAKE_NVML_BUS how many devices from 0000:01:00.0 on there are (8 at first). FAKE_NVML_OLD at
 * compile time leaves the counter out, as libraries before Volta do. */
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace
{

enum { OK = 0, UNINITIALIZED = 1, NOT_SUPPORTED = 3, NOT_FOUND = 6, GPU_IS_LOST = 15 };

std::atomic<int> users{0};
std::atomic<unsigned long long> energy{1000000};
char devices[8];

bool is(const char *word)
{
    const char *mode = std::getenv("FAKE_NVML");
    return mode != nullptr && std::strcmp(mode, word) == 0;
}

int device_count()
{
    const char *count = std::getenv("FAKE_NVML_BUS");
    return count != nullptr ? std::atoi(count) : 8;
}

/* Of a call that reads a fact. */
int fact()
{
    return users == 0 ? UNINITIALIZED : is("facts") ? NOT_SUPPORTED : OK;
}

} // namespace

extern "C" {

int nvmlInit_v2()
{
    if (is("init")) {
        return NOT_FOUND;
    }
    users++;
    return OK;
}

int nvmlShutdown()
{
    return users-- > 0 ? OK : UNINITIALIZED;
}

const char *nvmlErrorString(int code)
{
    return code == NOT_SUPPORTED ? "Not Supported"
           : code == NOT_FOUND   ? "Not Found"
           : code == GPU_IS_LOST ? "GPU is lost"
                                 : "Unknown Error";
}

int nvmlDeviceGetHandleByPciBusId_v2(const char *bus_id, void **device)
{
    unsigned bus = 0;
    if (users == 0 || std::sscanf(bus_id, "0000:%2x:00.0", &bus) != 1 || bus < 1 ||
        static_cast<int>(bus) > device_count()) {
        return NOT_FOUND;
    }
    *device = &devices[bus - 1];
    return OK;
}

int nvmlSystemGetDriverVersion(char *version, unsigned length)
{
    std::snprintf(version, length, "999.1.2");
    return fact();
}

/* The SM clock tells devices apart. */
int nvmlDeviceGetClockInfo(void *device, int clock, unsigned *mhz)
{
    *mhz = clock == 1 ? 1000u + static_cast<unsigned>(static_cast<char *>(device) - devices) : 2000;
    return fact();
}

int nvmlDeviceGetMaxClockInfo(void *, int clock, unsigned *mhz)
{
    *mhz = clock == 1 ? 1500 : 2500;
    return fact();
}

int nvmlDeviceGetEnforcedPowerLimit(void *, unsigned *milliwatts)
{
    *milliwatts = 250500;
    return fact();
}

int nvmlDeviceGetEccMode(void *, int *current, int *pending)
{
    *current = 1;
    *pending = 0;
    return fact();
}

int nvmlDeviceGetMigMode(void *, unsigned *current, unsigned *pending)
{
    *current = is("mig") ? 1 : 0;
    *pending = 0;
    return fact();
}

#ifndef FAKE_NVML_OLD
/* Every reading is 2 J above the one before, or 2 J below. */
int nvmlDeviceGetTotalEnergyConsumption(void *, unsigned long long *millijoules)
{
    if (is("no_counter") || is("lost")) {
        return is("lost") ? GPU_IS_LOST : NOT_SUPPORTED;
    }
    *millijoules = is("backwards") ? energy -= 2000 : energy += 2000;
    return OK;
}
#endif
}
