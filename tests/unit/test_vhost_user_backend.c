/* The back end's state, message by message. */
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "vu_bench.h"

static struct bench x;

/* Says what wire_init() makes of it, changed by the arguments: a u64 or a vring state. */
static uint64_t ask_value(uint32_t request, uint64_t value, struct vu_message *ret)
{
        struct wire w;
        uint64_t r;

        wire_init(&w, &driver, request, 0);
        memcpy(w.payload, &value, sizeof(value));
        r = bench_ask(&x, &w, ret);
        wire_fini(&w);
        return r;
}

static uint64_t ask(uint32_t request, struct vu_message *ret)
{
        struct wire w;
        uint64_t r;

        wire_init(&w, &driver, request, 0);
        r = bench_ask(&x, &w, ret);
        wire_fini(&w);
        return r;
}

static uint64_t state_of(uint32_t index, uint32_t num)
{
        return index | (uint64_t)num << 32;
}

/* A region [base, base+len) of guest RAM as it was. */
static uint64_t ask_region(uint32_t request, uint64_t base, uint64_t len, uint64_t peer)
{
        struct vu_payload_mem_reg m = {.region = {.base = base, .len_bytes = len, .peer = peer}};
        struct wire w;
        uint64_t r;

        wire_init(&w, &driver, request, 0);
        memcpy(w.payload, &m, sizeof(m));
        r = bench_ask(&x, &w, NULL);
        wire_fini(&w);
        return r;
}

static void serve_all(void)
{
        bench_check(&x);
}

/* Requests are served before and after a change of memory, and meanwhile the queue stands still. */
static void memory_changes_while_queues_run(void **state)
{
        bench_init(&x, &driver, BENCH_RUNNING);
        driver_send(&driver, 0, 0, 1);
        serve_all();
        driver_wait(&driver, 0, 1);

        assert_int_equal(ask(VU_SET_MEM_TABLE, NULL), 0); /* the same, mapped anew */
        assert_int_equal(x.echo.stops, 2);
        assert_int_equal(x.echo.starts, 4);
        driver_send(&driver, 0, 1, 2);
        serve_all();
        driver_wait(&driver, 0, 1);
        assert_int_equal(driver_number(&driver, 0, 1), 2);

        assert_int_equal(ask_region(VU_ADD_MEM_REG, 1 << 30, WORLD_RAM, 1 << 30), 0);
        assert_int_equal(ask_region(VU_ADD_MEM_REG, 1 << 30, WORLD_RAM, 3 << 29), 1); /* guest addresses overlap */
        assert_int_equal(ask_region(VU_ADD_MEM_REG, 2ULL << 30, WORLD_RAM, 1 << 30), 1);
        driver_send(&driver, 1, 0, 3);
        serve_all();
        driver_wait(&driver, 1, 1);

        assert_int_equal(ask_region(VU_REM_MEM_REG, 0, WORLD_RAM, 0), 0); /* with the rings in it */
        assert_false(x.b.queues[0].started || x.b.queues[1].started);
        assert_null(x.echo.queues[0]);
        driver_send(&driver, 0, 2, 4);
        serve_all();
        assert_int_equal(driver_reap(&driver, 0), 0);
        assert_int_equal(ask_region(VU_REM_MEM_REG, 0, WORLD_RAM, 0), 1); /* is not there */

        assert_int_equal(ask_region(VU_ADD_MEM_REG, 0, WORLD_RAM, 0), 0); /* and they go on */
        assert_true(x.b.queues[0].started && x.b.queues[1].started);
        serve_all();
        driver_wait(&driver, 0, 1);
        assert_int_equal(driver_number(&driver, 0, 2), 4);
        bench_fini(&x);
}

/* A table that is wrong in its last region changes nothing. */
static void a_table_is_taken_whole_or_not(void **state)
{
        struct vu_payload_mem_table m = {.count = 2,
                                         .regions = {{.len_bytes = 4096}, {.base = 4096, .len_bytes = 4096}}};
        struct wire w;

        bench_init(&x, &driver, BENCH_RUNNING);
        wire_init(&w, &driver, VU_SET_MEM_TABLE, 0);
        w.fds[w.fd_count++] = fcntl(driver.ram_fd, F_DUPFD_CLOEXEC, 3);
        memcpy(w.payload, &m, VU_MEM_TABLE_BYTES(2)); /* the peer's addresses overlap */
        w.payload_bytes = w.head.size_bytes = (uint32_t)VU_MEM_TABLE_BYTES(2);
        assert_int_equal(bench_ask(&x, &w, NULL), 1);
        assert_int_equal(x.b.ram.region_count, 1);
        assert_int_equal(x.echo.stops, 0);
        driver_send(&driver, 0, 0, 1);
        serve_all();
        driver_wait(&driver, 0, 1);
        wire_fini(&w);
        bench_fini(&x);
}

/* As many regions and descriptors as a message may have, and one descriptor more, which the kernel has to say. */
static void a_full_table(void **state)
{
        struct vu_payload_mem_table m = {.count = VU_REGIONS_MAX};

        for (unsigned int fds = VU_FDS_MAX; fds <= VU_FDS_MAX + 1; fds++) {
                struct err e = ERR_INIT;
                struct wire w;

                bench_init(&x, &driver, BENCH_FEATURES);
                wire_init(&w, &driver, VU_SET_MEM_TABLE, 0);
                for (uint64_t i = 0; i < VU_REGIONS_MAX; i++)
                        m.regions[i] = (struct vu_region){.base = i << 24, .len_bytes = 4096, .peer = i << 24};
                memcpy(w.payload, &m, sizeof(m));
                w.payload_bytes = w.head.size_bytes = sizeof(m);
                while (w.fd_count < fds)
                        w.fds[w.fd_count++] = fcntl(driver.ram_fd, F_DUPFD_CLOEXEC, 3);
                assert_int_equal(bench_say(&x, &w, &e), fds == VU_FDS_MAX ? 0 : -EPROTO);
                assert_int_equal(x.b.ram.region_count, fds == VU_FDS_MAX ? VU_REGIONS_MAX : 0);
                wire_fini(&w);
                bench_fini(&x);
        }
}

static void as_many_regions_as_there_is_room_for(void **state)
{
        struct vu_message slots;

        bench_init(&x, &driver, BENCH_FEATURES);
        ask(VU_GET_MAX_MEM_SLOTS, &slots);
        assert_int_equal(slots.body.u64, GUEST_RAM_REGIONS_MAX);
        for (uint64_t i = 0; i < GUEST_RAM_REGIONS_MAX; i++)
                assert_int_equal(ask_region(VU_ADD_MEM_REG, i << 24, 4096, i << 24), 0);
        assert_int_equal(ask_region(VU_ADD_MEM_REG, 1ULL << 40, 4096, 1ULL << 40), 1);
        bench_fini(&x);
}

static void queues_start_and_stop(void **state)
{
        struct vu_message m;

        bench_init(&x, &driver, BENCH_RUNNING);
        assert_int_equal(ask_value(VU_SET_VRING_NUM, state_of(0, 8), NULL), 1); /* it runs */
        assert_int_equal(ask_value(VU_SET_VRING_BASE, state_of(0, 8), NULL), 1);
        assert_int_equal(ask(VU_SET_VRING_ADDR, NULL), 1);
        assert_int_equal(ask_value(VU_SET_FEATURES, FEATURE_VERSION_1, NULL), 1);
        assert_int_equal(ask(VU_SET_FEATURES, NULL), 0); /* the same as before */

        assert_int_equal(ask_value(VU_SET_VRING_ENABLE, state_of(0, 0), NULL), 0);
        driver_send(&driver, 0, 0, 1);
        serve_all();
        assert_int_equal(driver_reap(&driver, 0), 0); /* disabled */
        assert_int_equal(ask_value(VU_SET_VRING_NUM, state_of(0, 8), NULL), 1);
        assert_int_equal(ask_value(VU_SET_VRING_ENABLE, state_of(0, 1), NULL), 0);
        driver_wait(&driver, 0, 1); /* looked without a kick */

        ask_value(VU_GET_VRING_BASE, state_of(0, 0), &m);
        assert_int_equal(m.body.state.index, 0);
        assert_int_equal(m.body.state.num, 1);
        assert_int_equal(x.b.queues[0].kick_fd, -1);
        assert_true(x.b.queues[1].started);
        ask_value(VU_GET_VRING_BASE, state_of(0, 0), &m); /* again */
        assert_int_equal(m.body.state.num, 1);
        assert_int_equal(ask_value(VU_SET_VRING_BASE, state_of(0, 5), NULL), 0);
        ask_value(VU_GET_VRING_BASE, state_of(0, 0), &m);
        assert_int_equal(m.body.state.num, 5);
        bench_fini(&x);
}

/* Without protocol features a ring is enabled from the start. */
static void a_front_end_that_knows_nothing_of_enabling(void **state)
{
        static const uint32_t ring[] = {VU_SET_MEM_TABLE, VU_SET_VRING_NUM, VU_SET_VRING_ADDR, VU_SET_VRING_KICK};
        struct err e = ERR_INIT;
        struct wire w;

        bench_init(&x, &driver, BENCH_FRESH);
        wire_init(&w, &driver, VU_SET_FEATURES, 0);
        memcpy(w.payload, &(uint64_t){FEATURE_VERSION_1}, 8);
        assert_int_equal(bench_say(&x, &w, &e), 0);
        for (size_t i = 0; i < ARRAY_LEN(ring); i++) {
                assert_false(x.b.queues[0].started);
                wire_init(&w, &driver, ring[i], 0);
                assert_int_equal(bench_say(&x, &w, &e), 0);
                wire_fini(&w);
        }
        assert_true(x.b.queues[0].started);
        assert_null(x.b.queues[0].inflight);
        driver_send(&driver, 0, 0, 1);
        serve_all();
        assert_int_equal(driver_reap(&driver, 0), 1);
        wire_init(&w, &driver, VU_SET_VRING_ENABLE, 0);
        assert_int_equal(bench_say(&x, &w, &e), -EPROTO);
        bench_fini(&x);
}

/* One that agrees on protocol features, but leaves the bit out: enabled from the start, and it can be disabled. */
static void a_front_end_that_leaves_the_bit_out(void **state)
{
        static const uint32_t ring[] = {VU_SET_MEM_TABLE, VU_SET_VRING_NUM, VU_SET_VRING_ADDR, VU_SET_VRING_KICK};
        struct err e = ERR_INIT;
        struct wire w;

        bench_init(&x, &driver, BENCH_FRESH);
        wire_init(&w, &driver, VU_SET_PROTOCOL_FEATURES, 0);
        assert_int_equal(bench_say(&x, &w, &e), 0);
        assert_int_equal(ask_value(VU_SET_FEATURES, FEATURE_VERSION_1, NULL), 0);
        for (size_t i = 0; i < ARRAY_LEN(ring); i++)
                assert_int_equal(ask(ring[i], NULL), 0);
        assert_true(x.b.queues[0].started);
        assert_int_equal(ask_value(VU_SET_VRING_ENABLE, state_of(0, 0), NULL), 0);
        assert_false(x.b.queues[0].started);
        assert_int_equal(ask_value(VU_SET_FEATURES, FEATURE_VERSION_1, NULL), 0); /* as before: it stays */
        assert_false(x.b.queues[0].started || x.b.queues[0].enabled);
        assert_int_equal(ask_value(VU_SET_VRING_ENABLE, state_of(0, 1), NULL), 0);
        assert_true(x.b.queues[0].started);
        bench_fini(&x);
}

static void a_ring_outside_of_memory(void **state)
{
        struct vu_payload_vring_addr a = {.descriptors = WORLD_RAM, .avail = world_avail(0), .used = world_used(0)};
        struct err e = ERR_INIT;
        struct wire w;

        bench_init(&x, &driver, BENCH_STOPPED);
        wire_init(&w, &driver, VU_SET_VRING_ADDR, 0);
        memcpy(w.payload, &a, sizeof(a));
        assert_int_equal(bench_ask(&x, &w, NULL), 0);
        assert_int_equal(ask(VU_SET_VRING_KICK, NULL), 1);
        assert_int_equal(x.b.queues[0].kick_fd, -1);
        assert_int_equal(ask(VU_SET_VRING_ADDR, NULL), 0);
        assert_int_equal(ask(VU_SET_VRING_KICK, NULL), 0);
        assert_true(x.b.queues[0].started);

        assert_int_equal(ask_value(VU_GET_VRING_BASE, 0, NULL), 0); /* and without an answer, it is the end */
        assert_int_equal(bench_ask(&x, &w, NULL), 0);
        wire_init(&w, &driver, VU_SET_VRING_KICK, 0);
        assert_int_equal(bench_say(&x, &w, &e), -EFAULT);
        wire_fini(&w);
        bench_fini(&x);
}

/* Both of RESET_DEVICE and of status 0; memory and protocol features are the connection's, as is what is signalled. */
static void reset_leaves_the_connection(void **state)
{
        struct vu_message m;

        for (unsigned int by_status = 0; by_status < 2; by_status++) {
                bench_init(&x, &driver, BENCH_RUNNING);
                assert_int_equal(ask(VU_SET_STATUS, NULL), 0);
                ask(VU_GET_STATUS, &m);
                assert_int_equal(m.body.u64, 15);
                if (by_status)
                        assert_int_equal(ask_value(VU_SET_STATUS, 0, NULL), 0);
                else
                        assert_int_equal(ask(VU_RESET_DEVICE, NULL), 0);
                ask(VU_GET_STATUS, &m);
                assert_int_equal(m.body.u64, 0);
                assert_false(x.b.queues[0].started || x.b.queues[0].enabled || x.b.queues[0].live);
                assert_null(x.b.inflight_map);
                assert_int_equal(x.b.features, 0);
                assert_int_equal(x.b.ram.region_count, 1);
                assert_true(x.b.queues[0].call_fd >= 0 && x.b.queues[0].kick_fd == -1);
                assert_int_equal(ask(VU_SET_VRING_KICK, NULL), 1); /* no size, no address */
                bench_fini(&x);
        }
}

static void events_do_not_block(void **state)
{
        struct wire w;

        bench_init(&x, &driver, BENCH_RUNNING);
        for (uint32_t request = VU_SET_VRING_KICK; request <= VU_SET_VRING_ERR; request++) {
                wire_init(&w, &driver, request, 0);
                wire_fini(&w);
                w.fds[w.fd_count++] = eventfd(0, EFD_CLOEXEC);
                assert_int_equal(bench_ask(&x, &w, NULL), 0);
                assert_true(fcntl(w.fds[0], F_GETFL) & O_NONBLOCK);
                wire_fini(&w);
        }
        assert_int_equal(fcntl(x.b.queues[0].kick_fd, F_GETFD), FD_CLOEXEC);
        assert_int_equal(fcntl(x.b.queues[0].call_fd, F_GETFD), FD_CLOEXEC);

        wire_init(&w, &driver, VU_SET_VRING_KICK, 0); /* polling is not for a device that has other things to do */
        wire_fini(&w);
        memcpy(w.payload, &(uint64_t){VU_VRING_NO_FD}, 8);
        assert_int_equal(bench_ask(&x, &w, NULL), 1);
        assert_true(x.b.queues[0].started);
        w.head.request = VU_SET_VRING_CALL;
        assert_int_equal(bench_ask(&x, &w, NULL), 0);
        assert_int_equal(x.b.queues[0].call_fd, -1);
        bench_fini(&x);
}

/* The interrupt of a request that came while there was no descriptor for it, or a predecessor's. */
static void a_new_call_is_signalled(void **state)
{
        uint64_t count = 0;
        struct wire w;

        bench_init(&x, &driver, BENCH_RUNNING);
        wire_init(&w, &driver, VU_SET_VRING_CALL, 0);
        assert_int_equal(bench_ask(&x, &w, NULL), 0);
        assert_int_equal(read(w.fds[0], &count, sizeof(count)), sizeof(count));
        assert_int_equal(count, 1);
        wire_fini(&w);

        ask_value(VU_GET_VRING_BASE, 0, NULL);
        wire_init(&w, &driver, VU_SET_VRING_CALL, 0);
        assert_int_equal(bench_ask(&x, &w, NULL), 0);
        assert_int_equal(read(w.fds[0], &count, sizeof(count)), -1); /* nothing runs */
        assert_int_equal(ask(VU_SET_VRING_KICK, NULL), 0);
        assert_int_equal(read(w.fds[0], &count, sizeof(count)), sizeof(count));
        wire_fini(&w);
        bench_fini(&x);
}

static void a_guest_that_breaks_its_queue(void **state)
{
        uint16_t *avail = guest_ram_at(&driver.ram, world_avail(0), 64);
        struct vu_message m;
        uint64_t count;
        struct wire w;

        bench_init(&x, &driver, BENCH_RUNNING);
        wire_init(&w, &driver, VU_SET_VRING_ERR, 0);
        assert_int_equal(bench_ask(&x, &w, NULL), 0);
        avail[2] = WORLD_SIZE;
        avail[1] = 1;
        serve_all();
        serve_all();
        assert_int_equal(read(w.fds[0], &count, sizeof(count)), sizeof(count));
        assert_int_equal(count, 1); /* told once */
        ask(VU_GET_STATUS, &m);
        assert_int_equal(m.body.u64, VIRTIO_CONFIG_S_NEEDS_RESET);
        wire_fini(&w);
        bench_fini(&x);
}

static void configuration(void **state)
{
        struct vu_payload_config c = {.off_bytes = WORLD_CONFIG - 4, .size_bytes = 64};
        struct vu_message m;
        struct wire w;

        bench_init(&x, &driver, BENCH_FEATURES);
        x.echo.size = 0x1122334455667788;
        ask(VU_GET_CONFIG, &m);
        assert_int_equal(m.body.config.size_bytes, WORLD_CONFIG);
        assert_memory_equal(m.body.config.data, &x.echo.size, 8);
        wire_init(&w, &driver, VU_GET_CONFIG, 0);
        memcpy(w.payload, &c, sizeof(c));
        w.payload_bytes = w.head.size_bytes = VU_CONFIG_BYTES(64);
        bench_ask(&x, &w, &m); /* some of it behind the end */
        assert_int_equal(m.head.size_bytes, VU_CONFIG_BYTES(64));
        for (unsigned int i = 0; i < 64; i++)
                assert_int_equal(m.body.config.data[i], 0);
        bench_fini(&x);
}

/* A change is told on the channel; a front end that does not listen costs nothing. */
static void the_channel(void **state)
{
        struct vu_message m;
        int pair[2], r = 0;
        struct wire w;

        bench_init(&x, &driver, BENCH_FEATURES);
        assert_int_equal(vu_backend_config_changed(&x.b), -EPIPE); /* of bench_init(), which keeps no end */
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
        wire_init(&w, &driver, VU_SET_BACKEND_REQ_FD, 0);
        wire_fini(&w);
        w.fds[w.fd_count++] = pair[1];
        assert_int_equal(bench_ask(&x, &w, NULL), 0);
        wire_fini(&w);
        assert_int_equal(vu_backend_config_changed(&x.b), 0);
        assert_int_equal(vu_message_receive(pair[0], false, NULL, 1000, &m), 0);
        assert_int_equal(m.head.request, VU_BACKEND_CONFIG_CHANGE);
        for (unsigned int i = 0; i < 100000 && r == 0; i++)
                r = vu_backend_config_changed(&x.b);
        assert_int_equal(r, -EAGAIN);
        close(pair[0]);
        bench_fini(&x);

        bench_init(&x, &driver, BENCH_FRESH);
        assert_int_equal(vu_backend_config_changed(&x.b), -ENOTSUP);
        bench_fini(&x);
}

/* What GET_INFLIGHT_FD makes is what SET_INFLIGHT_FD takes; and nothing that can shrink, is short, or in use. */
static void in_flight_regions(void **state)
{
        struct vu_message m;
        struct wire w;

        bench_init(&x, &driver, BENCH_STOPPED);
        ask(VU_GET_INFLIGHT_FD, &m);
        assert_int_equal(m.fd_count, 1);
        assert_int_equal(m.head.size_bytes, 24);
        assert_true(m.body.inflight.size_bytes >= vu_inflight_bytes(WORLD_QUEUES, WORLD_SIZE));
        assert_int_equal(fcntl(m.fds[0], F_GET_SEALS) & 7, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL);
        wire_init(&w, &driver, VU_SET_INFLIGHT_FD, 0);
        memcpy(w.payload, &m.body.inflight, sizeof(m.body.inflight));
        close(w.fds[0]);
        w.fds[0] = m.fds[0];
        assert_int_equal(bench_ask(&x, &w, NULL), 0);
        w.payload_bytes = w.head.size_bytes = 20;
        assert_int_equal(bench_ask(&x, &w, NULL), 0);
        wire_fini(&w);

        w.fds[w.fd_count++] = world_memfd("shrinks", 4096, F_SEAL_GROW);
        assert_int_equal(bench_ask(&x, &w, NULL), 1);
        wire_fini(&w);
        w.fds[w.fd_count++] = world_memfd("short", 4095, F_SEAL_SHRINK);
        assert_int_equal(bench_ask(&x, &w, NULL), 1);
        wire_fini(&w);
        assert_int_equal(ask(VU_SET_VRING_KICK, NULL), 0);
        assert_int_equal(ask(VU_SET_INFLIGHT_FD, NULL), 1); /* in use */
        bench_fini(&x);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(memory_changes_while_queues_run),
                cmocka_unit_test(a_table_is_taken_whole_or_not),
                cmocka_unit_test(a_full_table),
                cmocka_unit_test(as_many_regions_as_there_is_room_for),
                cmocka_unit_test(queues_start_and_stop),
                cmocka_unit_test(a_front_end_that_knows_nothing_of_enabling),
                cmocka_unit_test(a_front_end_that_leaves_the_bit_out),
                cmocka_unit_test(a_ring_outside_of_memory),
                cmocka_unit_test(reset_leaves_the_connection),
                cmocka_unit_test(events_do_not_block),
                cmocka_unit_test(a_new_call_is_signalled),
                cmocka_unit_test(a_guest_that_breaks_its_queue),
                cmocka_unit_test(configuration),
                cmocka_unit_test(the_channel),
                cmocka_unit_test(in_flight_regions),
        };

        return cmocka_run_group_tests(tests, world_open, world_close);
}
