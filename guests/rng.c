/*
 * rng: an entropy device gives bytes that differ.
 *
 * Options:  ecam[=N]  configuration space by ECAM (at N, decimal), else by ports
 *           bytes=N   of each request (default 64, at most 4096)
 *           rounds=N  requests (default 8, at most 64)
 *           none      there must be no entropy device
 * Prints:   rng: slot S, features F
 *           rng: N bytes, in hexadecimal at most 16 of them    each round
 *           rng: failed: why
 * Verdicts: 0, 1 (a check failed), 3 (no device; with none: there is one)
 * Needs:    nothing of KVM; runs where ring 0 is emulated.
 */
#include <stdbool.h>
#include <stddef.h>

#include "lib/boot.h"
#include "lib/heap.h"
#include "lib/memory.h"
#include "lib/pci.h"
#include "lib/print.h"
#include "lib/verdict.h"
#include "lib/virtio.h"

#define VERDICT_NO_DEVICE 3

#define BYTES_MAX  4096
#define ROUNDS_MAX 64
#define SAMPLE     16 /* bytes of each answer that are compared: two alike by chance are out of the question */

static uint8_t samples[ROUNDS_MAX][SAMPLE];

static unsigned int failed(const char *why)
{
        print("rng: failed: %s\n", why);
        return VERDICT_FAILED;
}

static void show(const uint8_t *bytes, uint32_t len)
{
        print("rng: %u bytes ", len);
        for (uint32_t i = 0; i < SAMPLE && i < len; i++)
                print("%02x", bytes[i]);
        print("\n");
}

static bool same(const uint8_t *a, const uint8_t *b, uint32_t len)
{
        uint32_t i = 0;

        while (i < len && a[i] == b[i])
                i++;
        return i == len;
}

/* Fills buffer with one or more requests: a device may answer with less than was asked for. */
static bool fill(struct virtq *q, uint8_t *buffer, uint32_t len)
{
        for (uint32_t done = 0; done < len;) {
                struct virtq_segment segment = {buffer + done, len - done};
                uint32_t got;

                if (!virtq_request(q, &segment, 0, 1, &got) || got == 0 || got > len - done)
                        return false;
                done += got;
        }
        return true;
}

static unsigned int compare(const uint8_t *buffer, uint64_t round)
{
        static const uint8_t zeroes[SAMPLE];

        memcpy(samples[round], buffer, SAMPLE);
        if (same(samples[round], zeroes, SAMPLE))
                return failed("nothing but zeroes");
        for (uint64_t earlier = 0; earlier < round; earlier++) {
                if (same(samples[round], samples[earlier], SAMPLE))
                        return failed("the same bytes again");
        }
        return VERDICT_PASSED;
}

unsigned int guest_main(const struct boot_info *boot)
{
        uint64_t bytes = boot_option_number(boot, "bytes", 64), rounds = boot_option_number(boot, "rounds", 8);
        struct virtio v;
        struct virtq q = {0};
        uint8_t *buffer;

        heap_init(boot);
        pci_init(boot);
        if (bytes < SAMPLE || bytes > BYTES_MAX || rounds < 1 || rounds > ROUNDS_MAX)
                return failed("bad option");
        if (boot_option(boot, "none"))
                return virtio_find(VIRTIO_TYPE_RNG, 0, &v) ? VERDICT_NO_DEVICE : VERDICT_PASSED;
        if (!virtio_find(VIRTIO_TYPE_RNG, 0, &v))
                return VERDICT_NO_DEVICE;
        if (!virtio_start(&v, VIRTIO_F_EVENT_IDX, &q, 8))
                return failed("the device does not start");
        print("rng: slot %u, features 0x%lx\n", v.slot, v.features);
        buffer = heap_alloc(BYTES_MAX, BYTES_MAX);
        for (uint64_t round = 0; round < rounds; round++) {
                memset(buffer, 0, bytes);
                if (!fill(&q, buffer, (uint32_t)bytes))
                        return failed("no answer, or more than was asked for");
                show(buffer, (uint32_t)bytes);
                if (compare(buffer, round) != VERDICT_PASSED)
                        return VERDICT_FAILED;
        }
        return virtio_reset(&v) ? VERDICT_PASSED : failed("no reset");
}
