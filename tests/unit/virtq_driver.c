#include "virtq_driver.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

void queue_set(struct driver *d, uint16_t size, uint16_t next_avail, bool event_idx, bool indirect)
{
        d->layout = (struct virtq_layout){size, TABLE, AVAIL, USED};
        d->avail->idx = next_avail;
        assert_int_equal(virtq_init(&d->q, &d->ram, &d->layout, next_avail, event_idx, indirect, NULL), 0);
}

int driver_setup(void **state)
{
        struct driver *d = calloc(1, sizeof(*d));
        int fd = memfd_create("test", MFD_CLOEXEC);

        if (!d)
                return -1;
        assert_true(fd >= 0 && ftruncate(fd, (off_t)(2 * REGION + BIG_BYTES)) == 0);
        assert_int_equal(guest_ram_add(&d->ram, fd, REGION, 0, REGION, 0, NULL), 0);
        assert_int_equal(guest_ram_add(&d->ram, fd, 0, REGION, REGION, REGION, NULL), 0);
        assert_int_equal(guest_ram_add(&d->ram, fd, 2 * REGION, BIG, BIG_BYTES, BIG, NULL), 0);
        close(fd);
        d->table = guest_ram_at(&d->ram, TABLE, 1);
        d->avail = guest_ram_at(&d->ram, AVAIL, 1);
        d->used = guest_ram_at(&d->ram, USED, 1);
        d->indirect = guest_ram_at(&d->ram, INDIRECT, 1);
        queue_set(d, 8, 0, false, true);
        *state = d;
        return 0;
}

int driver_teardown(void **state)
{
        struct driver *d = *state;

        guest_ram_unmap(&d->ram);
        free(d);
        return 0;
}

void offer(struct driver *d, uint16_t head)
{
        d->avail->ring[d->avail->idx & (d->layout.size - 1)] = head;
        __atomic_store_n(&d->avail->idx, d->avail->idx + 1, __ATOMIC_RELEASE);
}

void desc(struct vring_desc *table, uint16_t i, uint64_t addr, uint32_t len, uint16_t flags, uint16_t next)
{
        table[i] = (struct vring_desc){addr, len, flags, next};
}

void good_chain(struct driver *d)
{
        desc(d->table, 0, BUFFER, 16, NEXT, 1);
        desc(d->table, 1, BUFFER + 0x1000, 512, NEXT | IN, 2);
        desc(d->table, 2, BUFFER + 0x2000, 1, IN, 0);
}
