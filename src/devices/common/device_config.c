#include "devices/common/device_config.h"

#include <errno.h>

#include "jail/layers.h"
#include "spec/device_fds.h"

int device_config_receive(struct control_device_config *ret, uint64_t layers, struct err *e)
{
        static union control_message m;
        uint64_t missing;
        int r = control_receive(DEVICE_FD_CONTROL, &m);

        if (r == 0 && m.head.type != CONTROL_DEVICE_CONFIG)
                r = -EPROTO;
        if (r < 0)
                return err_set(e, r, "receive the device's configuration");
        missing = m.device_config.required_layers & ~layers;
        for (unsigned int i = 0; i < LAYER_COUNT; i++)
                if (missing & LAYER_BIT(i))
                        return err_bad(e, STATUS_ISOLATION, "the layer \"%s\" cannot be had; it needs %s",
                                       jail_layers[i].name, jail_layers[i].remedy);
        *ret = m.device_config;
        return 0;
}
