// SPDX-License-Identifier: Apache-2.0
/* NXdata as https://manual.nexusformat.org/classes/base_classes/NXdata.html defines it. */
#include "nexus.h"

static pb_status interpret(hid_t group, const nexus_plot *plot)
{
    hid_t signal     = -1;
    pb_status status = PB_OK;

    TRY_HDF5(status, signal = H5Dopen2(group, plot->signal, H5P_DEFAULT), out);
    status = hdf_put_text(signal, "interpretation", plot->interpretation, NULL);
out:
    hdf_release(&signal);
    return status;
}

pb_status nexus_data(hid_t group, const nexus_plot *plot)
{
    PB_TRY(hdf_put_text(group, "NX_class", "NXdata", NULL));
    PB_TRY(hdf_put_text(group, "signal", plot->signal, NULL));
    PB_TRY(hdf_put_texts(group, "axes", plot->axes, plot->rank));
    if (plot->slice[0] != NULL) {
        PB_TRY(hdf_put_texts(group, "default_slice", plot->slice, plot->rank));
    }
    return plot->interpretation != NULL ? interpret(group, plot) : PB_OK;
}

pb_status nexus_default(hid_t group, const char *child)
{
    return hdf_put_text(group, "default", child, NULL);
}
