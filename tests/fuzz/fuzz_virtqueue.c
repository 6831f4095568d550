/*
 * A split virtqueue of any layout, whose driver writes anything anywhere. What a chain is made of is worked out a
 * second time here, from addresses and a list of entries seen; memory changes where the device may write, and nowhere
 * else.
 */
#include <errno.h>
#include <linux/virtio_ring.h>
#include <string.h>

#include "base/cleanup.h"
#include "fuzz.h"
#include "virtio/virtq.h"

/* Two regions that are neighbours for the guest only, and one far away. */
#define REGION  0x4000ULL
#define FAR     (1ULL << 40)
#define FAR_LEN 0x1000ULL

static uint8_t low[REGION], high[REGION], far[FAR_LEN]; /* the sanitizer sees what lies between */

static struct world {
        struct guest_ram ram;
        struct virtq q;
        struct virtq_chain chain;
        struct virtq_layout layout;
        bool event_idx, indirect;
        uint16_t told; /* next_used when the device last asked whether to notify */
        bool asked;
        uint8_t before[2 * REGION + FAR_LEN];
} w;

static const struct {
        gpa_t base;
        uint64_t len;
        uint8_t *host;
} regions[] = {{0, REGION, low}, {REGION, REGION, high}, {FAR, FAR_LEN, far}};

static void ram_make(void)
{
        w.ram = (struct guest_ram){.region_count = ARRAY_LEN(regions)};
        for (size_t i = 0; i < ARRAY_LEN(regions); i++) {
                w.ram.regions[i] = (struct ram_region){.base = regions[i].base,
                                                       .len_bytes = regions[i].len,
                                                       .host = regions[i].host};
                w.ram.len_bytes += regions[i].len;
                memset(regions[i].host, 0, regions[i].len);
        }
}

static void ram_remember(void)
{
        memcpy(w.before, low, REGION);
        memcpy(w.before + REGION, high, REGION);
        memcpy(w.before + 2 * REGION, far, FAR_LEN);
}

/* Where what was remembered of a byte stands: what the device is to write is written there too. */
static uint8_t *remembered(const void *p)
{
        const uint8_t *at = p;

        if (at >= low && at < low + REGION)
                return w.before + (at - low);
        if (at >= high && at < high + REGION)
                return w.before + REGION + (at - high);
        MUST(at >= far && at < far + FAR_LEN);
        return w.before + 2 * REGION + (at - far);
}

static void ram_must_be_as_remembered(void)
{
        MUST(memcmp(low, w.before, REGION) == 0);
        MUST(memcmp(high, w.before + REGION, REGION) == 0);
        MUST(memcmp(far, w.before + 2 * REGION, FAR_LEN) == 0);
}

/* The byte at a guest address, or NULL. */
static uint8_t *byte_at(gpa_t gpa)
{
        for (size_t i = 0; i < ARRAY_LEN(regions); i++)
                if (gpa - regions[i].base < regions[i].len)
                        return regions[i].host + (gpa - regions[i].base);
        return NULL;
}

/* The start of a range inside one region, or NULL. */
static uint8_t *range_at(gpa_t gpa, uint64_t len)
{
        for (size_t i = 0; i < ARRAY_LEN(regions); i++)
                if (gpa >= regions[i].base && len <= regions[i].len && gpa - regions[i].base <= regions[i].len - len)
                        return regions[i].host + (gpa - regions[i].base);
        return NULL;
}

struct model {
        unsigned int out, in;
        uint64_t out_bytes, in_bytes;
        struct iovec iov[VIRTQ_IOV_MAX];
};

static bool model_buffer(struct model *m, const struct vring_desc *d)
{
        bool in = d->flags & VRING_DESC_F_WRITE;
        gpa_t gpa = d->addr;

        if (!in && m->in > 0)
                return false;
        for (uint64_t left = d->len, n; left > 0; gpa += n, left -= n) {
                uint8_t *p = byte_at(gpa);

                if (!p || m->out + m->in == VIRTQ_IOV_MAX)
                        return false;
                n = left;
                if (!range_at(gpa, left)) /* the size of each region is that of its alignment */
                        n = gpa < FAR ? REGION - gpa % REGION : FAR_LEN - gpa % FAR_LEN;
                m->iov[m->out + m->in] = (struct iovec){p, n};
                m->out += !in;
                m->in += in;
        }
        m->out_bytes += in ? 0 : d->len;
        m->in_bytes += in ? d->len : 0;
        return true;
}

static bool model_chain(struct model *m, uint32_t index)
{
        const uint8_t *table = w.q.table;
        uint32_t count = w.layout.size;
        bool nested = false, seen[VIRTQ_IOV_MAX + VIRTQ_SIZE_MAX] = {0};
        struct vring_desc d;

        memset(m, 0, sizeof(*m));
        do {
                if (index >= count || seen[index])
                        return false;
                seen[index] = true;
                memcpy(&d, table + index * sizeof(d), sizeof(d));
                index = d.next;
                if (d.flags & VRING_DESC_F_INDIRECT) {
                        if (!w.indirect || nested || (d.flags & VRING_DESC_F_NEXT) || d.len == 0 || d.len & 15 ||
                            d.len >> 4 > VIRTQ_IOV_MAX || !range_at(d.addr, d.len))
                                return false;
                        nested = true;
                        table = range_at(d.addr, d.len);
                        count = d.len >> 4;
                        memset(seen, 0, sizeof(seen));
                        index = 0;
                        d.flags = VRING_DESC_F_NEXT;
                } else if (!model_buffer(m, &d)) {
                        return false;
                }
        } while (d.flags & VRING_DESC_F_NEXT);
        return true;
}

/* The result is as the model has it, and nothing of the guest's was written. */
static void check_taken(int r, uint16_t head, bool was_broken)
{
        static struct model m;
        bool good = !was_broken && model_chain(&m, head);

        MUST(r == (good ? 1 : -EPROTO));
        MUST(w.q.broken == !good);
        ram_must_be_as_remembered();
        if (!good)
                return;
        MUST(w.chain.head == head && w.chain.out_count == m.out && w.chain.in_count == m.in);
        MUST(w.chain.out_bytes == m.out_bytes && w.chain.in_bytes == m.in_bytes);
        MUST(memcmp(w.chain.iov, m.iov, (m.out + m.in) * sizeof(m.iov[0])) == 0);
}

static uint16_t get16(const void *p)
{
        uint16_t v;

        memcpy(&v, p, sizeof(v));
        return v;
}

static bool taken; /* w.chain is one */

static void pop(void)
{
        uint16_t waiting = (uint16_t)(get16((uint8_t *)w.q.avail + 2) - w.q.next_avail), at = w.q.next_avail;
        uint16_t head = get16((uint8_t *)w.q.avail + 4 + 2 * (at % w.layout.size));
        bool broken = w.q.broken;
        int r;

        ram_remember();
        r = virtq_pop(&w.q, &w.chain);
        taken = r == 1;
        MUST(w.q.next_avail == (uint16_t)(at + taken));
        if (!broken && waiting == 0) {
                MUST(r == 0 && !w.q.broken);
                ram_must_be_as_remembered();
        } else {
                check_taken(r, head, broken || waiting > w.layout.size);
        }
}

/* A head that a predecessor left. */
static void reread(uint16_t head)
{
        bool broken = w.q.broken;
        uint16_t at = w.q.next_avail;
        int r;

        ram_remember();
        r = virtq_reread(&w.q, head, &w.chain);
        taken = r == 1;
        MUST(w.q.next_avail == at);
        check_taken(r, head, broken);
}

static void push(uint16_t head, uint32_t len)
{
        uint16_t at = w.q.next_used, after = at + 1;
        uint8_t *used = w.q.used, *element = used + 4 + 8 * (at % w.layout.size);
        const struct vring_used_elem e = {head, len};

        ram_remember();
        virtq_push(&w.q, head, len);
        MUST(w.q.next_used == after);
        memcpy(remembered(element), &e, sizeof(e));
        memcpy(remembered(used + 2), &after, sizeof(after));
        ram_must_be_as_remembered();
}

static void notify(void)
{
        uint16_t event = get16((uint8_t *)w.q.avail + 4 + 2 * w.layout.size), new = w.q.next_used;
        bool wanted, passed = false;

        for (uint32_t i = 0; i < (uint16_t)(new - w.told); i++) /* the elements given back since */
                passed |= (uint16_t)(w.told + i) == event;
        if (w.event_idx)
                wanted = !w.asked || passed;
        else
                wanted = (!w.asked || new != w.told) && !(get16(w.q.avail) & VRING_AVAIL_F_NO_INTERRUPT);
        ram_remember();
        MUST(virtq_should_notify(&w.q) == wanted);
        ram_must_be_as_remembered();
        w.asked = true;
        w.told = new;
}

static void kicks(bool on)
{
        uint8_t *used = w.q.used, *event = used + 4 + 8 * w.layout.size;
        const uint16_t flags = on ? 0 : VRING_USED_F_NO_NOTIFY;
        const uint16_t asked = (uint16_t)(w.q.next_avail - !on);
        bool more = false;

        ram_remember();
        if (on)
                more = virtq_kicks_on(&w.q);
        else
                virtq_kicks_off(&w.q);
        if (!w.event_idx)
                memcpy(remembered(used), &flags, 2);
        else
                memcpy(remembered(event), &asked, 2);
        ram_must_be_as_remembered();
        /* The rings may lie in one another: the index is as it is now. */
        MUST(virtq_waiting(&w.q) == (!w.q.broken && get16((uint8_t *)w.q.avail + 2) != w.q.next_avail));
        MUST(more == (on && !w.q.broken && get16((uint8_t *)w.q.avail + 2) != w.q.next_avail));
}

/* Through the segments and byte by byte, it is the same. */
static void copy(struct reader *r)
{
        uint64_t off = read_u16(r), len = read_u8(r), done = 0, at = 0;
        uint8_t buf[256], expected[256];

        if (!taken)
                return;
        for (unsigned int i = 0; i < w.chain.out_count; i++)
                for (size_t k = 0; k < w.chain.iov[i].iov_len && done < len; k++, at++)
                        if (at >= off)
                                expected[done++] = ((uint8_t *)w.chain.iov[i].iov_base)[k];
        MUST(virtq_read(&w.chain, off, buf, len) == done);
        MUST(memcmp(buf, expected, done) == 0);

        memset(buf, 0xa5, sizeof(buf));
        ram_remember();
        done = at = 0;
        for (unsigned int i = 0; i < w.chain.in_count; i++) {
                const struct iovec *v = &w.chain.iov[w.chain.out_count + i];

                for (size_t k = 0; k < v->iov_len && done < len; k++, at++)
                        if (at >= off) {
                                *remembered((uint8_t *)v->iov_base + k) = 0xa5;
                                done++;
                        }
        }
        MUST(virtq_write(&w.chain, off, buf, len) == done);
        ram_must_be_as_remembered();
}

/* An address: any, in RAM, or around the end of a region. */
static gpa_t read_gpa(struct reader *r)
{
        uint8_t how = read_u8(r);

        switch (how & 3) {
        case 0:
                return read_u64(r);
        case 1:
                return read_u16(r) % (2 * REGION);
        case 2:
                return (how & 4 ? REGION : 2 * REGION) - 32 + read_u8(r) % 64;
        default:
                return FAR + read_u16(r) % (FAR_LEN + 16);
        }
}

static void write_bytes(gpa_t gpa, const void *data, size_t len)
{
        for (size_t i = 0; i < len; i++) {
                uint8_t *p = byte_at(gpa + i);

                if (p)
                        *p = ((const uint8_t *)data)[i];
        }
}

static void write_descriptor(struct reader *r, gpa_t table)
{
        uint16_t index = read_u8(r);
        struct vring_desc d = {.addr = read_gpa(r)};
        uint8_t how = read_u8(r);

        d.len = how & 0x80 ? read_u32(r) : how & 0x40 ? read_u16(r) : (read_u8(r) & 31) * 16U;
        d.flags = how & 0x20 ? read_u16(r) : how & 7;
        d.next = how & 0x10 ? read_u16(r) : (uint16_t)(index + 1);
        write_bytes(table + index * sizeof(d), &d, sizeof(d));
}

static void offer(struct reader *r)
{
        uint16_t index = get16((uint8_t *)w.q.avail + 2), head = read_u8(r);

        memcpy((uint8_t *)w.q.avail + 4 + 2 * (index % w.layout.size), &head, 2);
        index++;
        memcpy((uint8_t *)w.q.avail + 2, &index, 2);
}

static void step(struct reader *r)
{
        uint8_t bytes[32], op = read_u8(r);
        gpa_t gpa;

        switch (op % 12) {
        case 0:
                write_descriptor(r, w.layout.descriptors);
                break;
        case 1:
                write_descriptor(r, read_gpa(r));
                break;
        case 2:
                offer(r);
                break;
        case 3:
                pop();
                break;
        case 4:
                push(taken ? w.chain.head : read_u16(r), read_u32(r));
                break;
        case 5:
                notify();
                break;
        case 6:
        case 7:
                kicks(op % 12 == 6);
                break;
        case 8:
                gpa = read_gpa(r);
                write_bytes(gpa, bytes, read_bytes(r, bytes, read_u8(r) % sizeof(bytes)));
                break;
        case 9:
                reread(read_u16(r));
                break;
        case 10:
                copy(r);
                break;
        default:
                offer(r);
                pop();
                break;
        }
}

/* Where the rings lie: in their usual places, or anywhere. */
static void layout_read(struct reader *r)
{
        uint8_t how = read_u8(r);

        w.layout = (struct virtq_layout){(uint16_t)(1U << (how & 7)), 0, 0x1000, 0x2000};
        if (how & 0x08)
                w.layout.size = read_u16(r);
        if (how & 0x10)
                w.layout.descriptors = read_gpa(r);
        if (how & 0x20)
                w.layout.driver = read_gpa(r);
        if (how & 0x40)
                w.layout.device = read_gpa(r);
}

static bool layout_is_good(void)
{
        uint64_t size = w.layout.size;
        unsigned int bits = 0;

        for (unsigned int i = 0; i < 16; i++)
                bits += size >> i & 1;
        return bits == 1 && size <= VIRTQ_SIZE_MAX && w.layout.descriptors % 16 == 0 && w.layout.driver % 2 == 0 &&
               w.layout.device % 4 == 0 && range_at(w.layout.descriptors, 16 * size) &&
               range_at(w.layout.driver, 6 + 2 * size) && range_at(w.layout.device, 6 + 8 * size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
        struct reader r = {data, len};
        uint8_t how = read_u8(&r);
        uint16_t next_avail = how & 4 ? read_u16(&r) : 0;
        struct err e = ERR_INIT;
        int result;

        ram_make();
        memset(&w.q, 0, sizeof(w.q));
        w.event_idx = how & 1;
        w.indirect = !(how & 2);
        w.asked = taken = false;
        layout_read(&r);
        if (how & 8 && range_at(w.layout.device, 4))
                memcpy(range_at(w.layout.device, 4) + 2, &(uint16_t){read_u16(&r)}, 2);
        result = virtq_init(&w.q, &w.ram, &w.layout, next_avail, w.event_idx, w.indirect, &e);
        if (result < 0) {
                must_be_error(&e, result, STATUS_BIT(STATUS_FAILURE));
                MUST(!layout_is_good() && !w.q.ram);
                return 0;
        }
        MUST(layout_is_good());
        MUST(w.q.next_avail == next_avail && w.q.next_used == get16((uint8_t *)w.q.used + 2));
        w.told = w.q.next_used;
        memcpy((uint8_t *)w.q.avail + 2, &next_avail, 2);
        while (r.len > 0)
                step(&r);
        return 0;
}
